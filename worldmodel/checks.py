"""Which settings of a model, its loss and its training fit each other; needs no torch."""

from __future__ import annotations

from worldmodel.config import HEADS, LossConfig, ModelConfig, TrainConfig
from worldmodel.errors import BadValue


def check(model: ModelConfig, loss: LossConfig, train: TrainConfig) -> None:
    """Refuse parts that would be saved without having been trained.

    Raises:
        BadValue: names the settings that do not fit each other.
    """
    if model.prefix is not None and train.window <= model.prefix.max_prefix:
        raise BadValue(
            f"train.window: {train.window} frames cannot train prefixes of model.prefix.max_prefix = "
            f"{model.prefix.max_prefix} steps; expected at least {model.prefix.max_prefix + 1}"
        )
    if model.one_step is not None and train.window <= model.context:
        raise BadValue(f"train.window: expected more frames than model.context = {model.context}, got {train.window}")
    if train.accumulate > 1 and model.encoder.kind != "vit":
        raise BadValue(
            f"train.accumulate: the encoder {model.encoder.kind} normalises over the batch, which parts of it would "
            "change; expected 1, or model.encoder.kind vit"
        )
    if ("imagined" in model.predictions) != bool(loss.imagined):
        raise BadValue(
            f"loss.imagined: a weight of {loss.imagined} does not fit model.prefix.imagines = "
            f"{'imagined' in model.predictions}; change both"
        )
    for name in HEADS:
        width, weight = getattr(model, name), getattr(loss, name)
        if bool(width) != bool(weight):
            raise BadValue(f"loss.{name}: a weight of {weight} does not fit model.{name} = {width}; change both")
    if model.value and (train.window < 3 or train.ragged):
        raise BadValue(
            "model.value: expected windows of 3 frames or more (train.window), none cut short (train.ragged)"
        )
    parts = model.one_step is not None or bool(model.inverse) or (model.prefix is not None and model.prefix.every_start)
    if train.ragged and (train.long_share < 1 or parts):
        raise BadValue(
            "train.ragged: expected False; only a prefix predictor without an inverse head, with every_start False and "
            "long_share 1, learns from windows that are cut short (--recipe fast-lewm)"
        )
    if bool(model.reflex) != bool(train.ahead) or 0 < train.ahead < model.action_block:
        raise BadValue(
            f"train.ahead: goals up to {train.ahead} environment steps away do not fit model.reflex = {model.reflex} "
            f"and model.action_block = {model.action_block}; expected at least one model step with the head "
            "(--heads reflex), else 0"
        )
    if model.reflex and (train.window <= model.context or (train.ragged and model.context > 1)):
        raise BadValue(
            f"model.reflex: expected windows (train.window, train.ragged) of more than model.context = {model.context} "
            "frames"
        )
    for name in ("one_step", "prefix"):
        if getattr(model, name) is not None and not getattr(loss, name):
            raise BadValue(
                f"loss.{name}: 0 would leave a predictor untrained; choose --recipe lewm or fast-lewm instead"
            )
