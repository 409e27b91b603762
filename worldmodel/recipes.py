"""What is learned (recipes) and how large (presets): two separate tables, combined by :func:`settings`.

Sources: LeWM 2603.19312 and Fast-LeWM 2606.26217, as in their released code where paper and code differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from worldmodel.config import EncoderConfig, LossConfig, ModelConfig, OneStepConfig, PrefixConfig, TrainConfig
from worldmodel.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is learned: the parts, the frames they see, and the loss."""

    context: int  # C, frames the predictors see
    window: int  # T, frames in a training window
    long_share: float = 1.0  # of the windows that are that long; the others hold C + 1 frames
    one_step: bool
    prefix: bool
    max_prefix: int = 1  # K, model steps
    prefix_shapes_encoder: bool = True
    loss: LossConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How large: sizes of every part, and an optimisation that suits them."""

    model: ModelConfig
    train: TrainConfig
    projections: int


RECIPES = {
    # 2603.19312: three frames of context, windows of four, teacher forcing, lambda 0.09 (text: 0.1).
    "lewm": Recipe(context=3, window=4, one_step=True, prefix=False, loss=LossConfig(prefix=0.0)),
    # 2606.26217: one frame of context, prefixes of one to five model steps. Every start of a window is supervised.
    "fast-lewm": Recipe(context=1, window=6, one_step=False, prefix=True, max_prefix=5, loss=LossConfig(one_step=0.0)),
    # Ours: both predictors on one encoder; two frames make velocity visible; jumps of up to eight model steps. Reading
    # the actions back from neighbouring latents keeps what they move. One window in six is long, so that a step sees
    # many different scenes, and long predictions do not shape the encoder: either would otherwise teach it, in short
    # runs, to leave out the block of PushT, which is hard to predict. The prefix predictor also learns from rollouts of
    # random plans by the one-step predictor, because a planner tries what no demonstrator did.
    "wm": Recipe(
        context=2,
        window=9,
        long_share=1 / 6,
        one_step=True,
        prefix=True,
        max_prefix=8,
        prefix_shapes_encoder=False,
        loss=LossConfig(imagined=1.0, inverse=0.5),
    ),
}

PRESETS = {
    "nano": Preset(
        model=ModelConfig(),
        train=TrainConfig(),
        projections=256,
    ),
    "small": Preset(
        model=ModelConfig(
            latent_dim=192,
            encoder=EncoderConfig(kind="vit", width=192, depth=4, heads=3, patch=8, projector=768),
            one_step=OneStepConfig(depth=2, heads=6, mlp=384, dropout=0.1, action_hidden=256, head=384),
            prefix=PrefixConfig(
                depth=2,
                heads=6,
                mlp=384,
                action_hidden=256,
                blocks=2,
                block_inner=256,
                block_mlp=384,
                dropout=0.1,
                head=384,
            ),
        ),
        train=TrainConfig(steps=40_000, batch=128, lr=3e-4),
        projections=512,
    ),
    # Layer by layer the published models: 18,034,478 (LeWM) and 17,914,912 (Fast-LeWM) parameters where a = 2.
    "paper": Preset(
        model=ModelConfig(
            image_size=224,
            latent_dim=192,
            encoder=EncoderConfig(kind="vit", width=192, depth=12, heads=3, patch=14, projector=2048),
            one_step=OneStepConfig(depth=6, heads=16, head_dim=64, mlp=2048, dropout=0.1, action_hidden=768, head=2048),
            prefix=PrefixConfig(
                depth=3,
                heads=6,
                mlp=768,
                action_hidden=768,
                blocks=6,
                block_inner=1024,
                block_mlp=2048,
                dropout=0.1,
                head=2048,
            ),
        ),
        train=TrainConfig(steps=139_000, batch=128, lr=5e-5),
        projections=1024,
    ),
}


def settings(recipe: str, preset: str) -> tuple[ModelConfig, LossConfig, TrainConfig]:
    """Combine a recipe and a preset.

    Raises:
        UnknownName: no such recipe or preset.
    """
    if recipe not in RECIPES:
        raise UnknownName("recipe", recipe, RECIPES)
    if preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    what, size = RECIPES[recipe], PRESETS[preset]
    prefix = size.model.prefix
    assert prefix is not None
    prefix = replace(
        prefix,
        max_prefix=what.max_prefix,
        shapes_encoder=what.prefix_shapes_encoder,
        imagines=what.loss.imagined != 0,
    )
    model = replace(
        size.model,
        context=what.context,
        one_step=size.model.one_step if what.one_step else None,
        prefix=prefix if what.prefix else None,
        inverse=4 * size.model.latent_dim if what.loss.inverse else 0,
    )
    train = replace(size.train, window=what.window, long_share=what.long_share)
    return model, replace(what.loss, projections=size.projections), train
