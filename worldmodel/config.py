"""Every setting of a run, as frozen dataclasses that need no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from worldmodel.errors import BadValue, UnknownName

ENCODERS = ("vit", "cnn")
PRECISIONS = ("fp32", "bf16", "auto")
HEADS = ("inverse", "reward", "value", "reflex")  # what else is read from latents


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Pixels to features. ``vit``: patch tokens and a CLS token; ``cnn``: strided convolutions, then flattened."""

    kind: str = "cnn"  # vit | cnn
    width: int = 32  # vit: token width; cnn: channels after the first convolution, doubled by each further one
    depth: int = 3  # vit: transformer blocks; cnn: convolutions
    heads: int = 4  # vit only
    patch: int = 8  # vit only, pixels
    projector: int = 512  # hidden width of the MLP with BatchNorm that makes the latent

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch", "projector"):
            _at_least(1, f"model.encoder.{name}", getattr(self, name))
        if self.kind not in ENCODERS:
            raise UnknownName("model.encoder.kind", self.kind, ENCODERS)
        if self.kind == "vit" and self.width % self.heads:
            raise BadValue(f"model.encoder.width: {self.width} cannot be split among model.encoder.heads {self.heads}")


@dataclass(frozen=True, kw_only=True)
class OneStepConfig:
    """The autoregressive predictor of LeWM (2603.19312)."""

    depth: int = 2
    heads: int = 4
    head_dim: int = 32
    mlp: int = 256
    dropout: float = 0.0
    action_hidden: int = 256  # hidden width of the action embedding
    head: int = 256  # hidden width of the prediction head (MLP with BatchNorm)

    def __post_init__(self) -> None:
        for name in ("depth", "heads", "head_dim", "mlp", "action_hidden", "head"):
            _at_least(1, f"model.one_step.{name}", getattr(self, name))
        _share("model.one_step.dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class PrefixConfig:
    """The action-prefix predictor of Fast-LeWM (2606.26217)."""

    depth: int = 2  # causal layers over [state, a_1 .. a_H]
    heads: int = 4
    mlp: int = 256  # feed-forward width there, in the tokens and in the fusion
    action_hidden: int = 256
    blocks: int = 2  # pointwise AdaLN blocks from (z, prefix) to the predicted latent
    block_inner: int = 128
    block_mlp: int = 256
    dropout: float = 0.0
    head: int = 256
    max_prefix: int = 8  # longest prefix trained, in model steps; longer plans are composed
    every_start: bool = True  # predict from every frame of a window but the last; False: from the first (2606.26217)
    shapes_encoder: bool = True  # False: it learns on latents that the other terms shape
    imagines: bool = False  # it also learns what the one-step predictor expects of random plans

    def __post_init__(self) -> None:
        sizes = ("depth", "heads", "mlp", "action_hidden", "blocks", "block_inner", "block_mlp", "head", "max_prefix")
        for name in sizes:
            _at_least(1, f"model.prefix.{name}", getattr(self, name))
        _share("model.prefix.dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One encoder and the predictors on top of it."""

    env: str = ""  # the task the model was trained on
    image_size: int = 64  # pixels, square
    action_dim: int = 2  # a, numbers in one primitive action
    action_block: int = 5  # F, primitive actions concatenated into one model step (equals the frame stride)
    latent_dim: int = 64  # D
    context: int = 2  # C, frames given to the predictors; 2 makes velocity visible
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    one_step: OneStepConfig | None = field(default_factory=OneStepConfig)
    prefix: PrefixConfig | None = field(default_factory=PrefixConfig)
    inverse: int = 0  # hidden width of the inverse-dynamics head, 0 for none
    reward: int = 0  # hidden width of the head that reads the reward, 0 for none
    value: int = 0  # hidden width of the head that reads the rewards to come, 0 for none
    reflex: int = 0  # hidden width of the head that reads the action towards a goal, 0 for none
    discount: float = 0.99  # of a reward an environment step later
    expectile: float = 0.7  # of the value: 0.5 what the data's actions reach, towards 1 what their best ones do

    def __post_init__(self) -> None:
        for name, least in (
            ("image_size", 8),
            ("action_dim", 1),
            ("action_block", 1),
            ("latent_dim", 2),
            ("context", 1),
            ("inverse", 0),
            ("reward", 0),
            ("value", 0),
            ("reflex", 0),
        ):
            _at_least(least, f"model.{name}", getattr(self, name))
        _share("model.discount", self.discount)
        if not 0.5 <= self.expectile < 1:
            raise BadValue(f"model.expectile: expected 0.5 to below 1, got {self.expectile}")
        if self.value and not self.reward:
            raise BadValue("model.value: expected model.reward beside it, which says what is worth something")
        if self.prefix is not None:
            if self.latent_dim % 2:
                raise BadValue(f"model.latent_dim: expected an even number (sines and cosines), got {self.latent_dim}")
            if self.latent_dim % self.prefix.heads:
                raise BadValue(
                    f"model.latent_dim: {self.latent_dim} cannot be split among model.prefix.heads {self.prefix.heads}"
                )
            if self.prefix.imagines and self.one_step is None:
                raise BadValue("model.prefix.imagines: expected False without a one-step predictor to learn from")

    @property
    def predictions(self) -> set[str]:
        """What a training step predicts; each has a weight of the same name in the loss."""
        imagines = self.prefix is not None and self.prefix.imagines
        made = {"one_step": self.one_step, "prefix": self.prefix, "imagined": imagines}
        made |= {name: getattr(self, name) for name in HEADS}
        return {name for name, part in made.items() if part}


def usual_predictor(names: Sequence[str]) -> str:
    """Which of a model's predictors plans unless told otherwise."""
    return "prefix" if "prefix" in names else names[0]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of each named term; a weight of 0 leaves the term out."""

    one_step: float = 1.0
    prefix: float = 1.0
    sigreg: float = 0.09  # lambda of 2603.19312, as in the released configuration
    imagined: float = 0.0
    inverse: float = 0.0
    reward: float = 0.0
    value: float = 0.0
    reflex: float = 0.0
    projections: int = 256  # P, random directions of SIGReg, redrawn each step
    knots: int = 17  # quadrature points of its integral over [0, 3]

    def __post_init__(self) -> None:
        _at_least(1, "loss.projections", self.projections)
        _at_least(2, "loss.knots", self.knots)
        weights = {name: getattr(self, name) for name in ("one_step", "prefix", "sigreg", "imagined", *HEADS)}
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise BadValue(f"loss.{name}: expected 0 or more, finite, got {weight}")
        if not any(weights.values()):
            raise BadValue("loss: expected at least one weight other than 0")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimisation."""

    steps: int = 10_000  # optimiser steps, which the schedule is fitted to
    minutes: float = 0.0  # wall clock at which to stop earlier, 0 for never; the schedule then follows the clock
    batch: int = 144  # windows in a batch
    window: int = 9  # T, frames in a long window
    long_share: float = 1.0  # of the windows that are long; the others hold C + 1 frames
    ahead: int = 0  # environment steps from a window's frame C to the furthest goal drawn for it, 0 for no goals
    settle: float = 0.0  # share of the training, at its end, in which the encoder stands still and the rest goes on
    mirror: bool = False  # windows are mirrored at random, where the task looks and acts alike in a mirror
    shift: float = 0.0  # share of a picture's side that a window and its goal are moved by at most, a pixel at least
    ragged: bool = False  # also windows that an episode's end cuts short, a batch of one length at a time (2606.26217)
    lr: float = 1e-3
    weight_decay: float = 1e-3
    schedule: float = 1.0  # length of the learning-rate schedule in runs; 10: the run ends after a tenth of it (LeWM)
    warmup: float = 0.01  # share of the schedule
    final_lr: float = 0.0  # share of lr left at the end of the cosine
    accumulate: int = 1  # parts in which a batch's frames pass the encoder; saves memory, changes no result
    compile: bool = False  # torch.compile
    clip: float = 1.0  # gradient norm
    precision: str = "auto"  # fp32 | bf16 | auto (bf16 where the processor or accelerator multiplies it natively)
    log_every: int = 50  # steps
    save_every: int = 500  # steps between resumable states
    validate_every: int = 1000  # steps
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "save_every", "validate_every", "accumulate"):
            _at_least(1, f"train.{name}", getattr(self, name))
        if self.precision not in PRECISIONS:
            raise UnknownName("train.precision", self.precision, PRECISIONS)
        _at_least(2, "train.batch", self.batch)  # batch statistics need two windows
        _at_least(2, "train.window", self.window)
        _at_least(0, "train.ahead", self.ahead)
        if not 0 < self.long_share <= 1 or round(self.batch * self.long_share) < 1:
            raise BadValue(
                f"train.long_share: expected a share above 0 and up to 1 that leaves a long window in a batch of "
                f"{self.batch}, got {self.long_share}"
            )
        if not 0 <= self.seed < 2**32:
            raise BadValue(f"train.seed: expected 0 to {2**32 - 1}, got {self.seed}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise BadValue(f"train.{name}: expected more than 0, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise BadValue(f"train.weight_decay: expected 0 or more, got {self.weight_decay}")
        if not self.schedule >= 1:  # it would end before the run does
            raise BadValue(f"train.schedule: expected 1 or more, got {self.schedule}")
        _share("train.warmup", self.warmup)
        _share("train.settle", self.settle)
        _share("train.shift", self.shift)
        if not 0 <= self.minutes < math.inf:
            raise BadValue(f"train.minutes: expected 0 for no limit, or a finite number above it, got {self.minutes}")
        if not 0 <= self.final_lr <= 1:
            raise BadValue(f"train.final_lr: expected 0 to 1, got {self.final_lr}")

    @property
    def long_windows(self) -> int:
        """Windows of a batch that are long; eight divides them where it can, so that processes can share them."""
        long = self.batch * self.long_share
        eights = 8 * round(long / 8)
        return eights if self.batch % 8 == 0 and 0 < eights < self.batch else round(long)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """What turns latents into pictures, trained on a finished model for people to look at.

    Chosen on a pusht model of 64 px by what 35 seconds of one core reach on held-out frames: 26.0 dB PSNR. One hidden
    layer, in float32 at half the rate, reached 25.5; likewise transposed convolutions on a linear layer 25.3 (22.0
    with batch norm), no convolutions 25.1, coefficients of cosines 25.1, and learned queries that attend to the latent
    (2 layers of width 64, patches of 8) 23.7; the mean picture is at 21.9.
    """

    width: int = 32  # channels of the maps
    hidden: int = 512  # width of the two layers between a latent and the first map
    minutes: float = 3.0  # wall clock
    steps: int = 0  # that many instead, 0 for by the clock
    batch: int = 64  # frames in a step
    lr: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("hidden", 1), ("batch", 1), ("steps", 0), ("seed", 0)):
            _at_least(least, name, getattr(self, name))
        for name in ("minutes", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadValue(f"{name}: expected a finite number above 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class RoundConfig:
    """A round of learning online: the agent acts, its episodes join the dataset, the model is trained further."""

    episodes: int = 60  # that the agent plays
    noise: float = 0.3  # standard deviation of what is added to its actions, share of half their range
    horizon: int = 5  # model steps planned ahead
    pairs: int = 50  # held-out start and goal pairs it is judged by; for reward, episodes
    offset: int = 25  # environment steps from start to goal in them

    def __post_init__(self) -> None:
        for name in ("episodes", "horizon", "pairs", "offset"):
            _at_least(1, f"round.{name}", getattr(self, name))
        if not 0 <= self.noise < math.inf:
            raise BadValue(f"round.noise: expected 0 or more, finite, got {self.noise}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise BadValue(f"{name}: expected 0 to below 1, got {value}")


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise BadValue(f"{name}: expected at least {least}, got {value}")
