"""What is learned (recipes) and how large (presets): two separate tables, combined by :func:`settings`.

The published models are ``settings("lewm", "paper")`` and ``settings("fast-lewm", "paper")``. docs/models.md has their
layers, their schedules and what deviates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worldmodel.config import HEADS, EncoderConfig, LossConfig, ModelConfig, OneStepConfig, PrefixConfig, TrainConfig
from worldmodel.errors import UnknownName

AHEAD = 50  # environment steps to the furthest goal that the reflex head learns from


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How large: sizes of every part, and an optimisation that suits them."""

    model: ModelConfig
    train: TrainConfig
    projections: int
    reflex: int = 384  # width of the reflex, where the recipe has one


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is learned: the parts, the frames they see, and the loss. Each recipe is a subclass that says why."""

    context: int  # C, frames the predictors see
    window: int  # T, frames in a training window
    long_share: float = 1.0  # of the windows that are that long; the others hold C + 1 frames
    ragged: bool = False  # also windows that an episode's end cuts short
    mirror: bool = False  # windows are mirrored at random, where the task has mirrors
    shift: float = 0.0  # share of a picture's side by which windows are moved where episodes are few
    settle: float = 0.0  # share of the training, at its end, in which the encoder stands still
    one_step: bool
    prefix: bool
    max_prefix: int = 1  # model steps
    every_start: bool = True
    prefix_shapes_encoder: bool = True
    loss: LossConfig
    paper_steps: int = 139_000  # length of a run under the preset paper
    paper_schedule: float = 1.0  # length of its learning-rate schedule, in runs; other presets fit theirs to the run


@dataclass(frozen=True, kw_only=True)
class LeWM(Recipe):
    """LeWM, 2603.19312; where its text and its released code (lucas-maes/le-wm) differ, the code.

    From the code: three frames of context, windows of four, one step ahead by teacher forcing, mean squared error over
    windows, steps and dimensions with gradient through the targets; SIGReg over the batch for each time step, 17 knots
    on [0, 3], weight 0.09 (text: 0.1 and knots on [0.2, 4]). With the preset paper: 1,024 directions; AdamW, 5e-5,
    weight decay 1e-3 on all parameters, 128 windows, gradient norm 1; a cosine over 100 epochs with 1 % warm-up. From
    its authors: the published run was stopped at epoch 10, at 98 % of the peak rate, hence ``paper_schedule``. Ten
    epochs of their PushT file are 139,000 steps.

    Deviations: episodes are split, not overlapping windows, and 90/5/5 instead of 90/10. Actions are standardised by
    statistics of the training split, not of the whole file. A window needs (T - 1) F + 1 rows and its last frame no
    action, where theirs takes T F rows; so an episode has F - 1 more windows, and none holds a missing action. Windows
    are drawn anew for every step instead of once an epoch. Errors and SIGReg are computed in float32 also under
    bfloat16, and so are, once training is over, batch norm's statistics (`worldmodel.calibration`), which theirs keeps
    from the last steps. The first steps of the warm-up have 1 % of the peak rate instead of 0. The seed is 0, not 3072.
    """

    context: int = 3
    window: int = 4
    one_step: bool = True
    prefix: bool = False
    loss: LossConfig = LossConfig(prefix=0.0)
    paper_schedule: float = 10.0


@dataclass(frozen=True, kw_only=True)
class FastLeWM(Recipe):
    """Fast-LeWM, 2606.26217, as in its released code (Yuntian-Gao/Fast-LeWorldModel).

    From the code: one frame of context; the latents after 1 to 5 model steps, all from the first frame of a window and
    all of equal weight; every row that an action block follows begins a window, which is shorter where the episode ends
    (``ragged``), and a batch holds windows of one length. Loss, SIGReg, optimiser and batch are LeWM's; the schedule is
    fitted to ten epochs, 157,700 steps of their PushT file. The configuration asks to step it by epoch, yet the trainer
    it pins (stable-pretraining 0.1.6) steps it with the optimiser, and so do we. The text has batches of 32 for Cube.

    Deviations: the split, the statistics, the drawing of windows, the precision of the loss, the first steps and the
    seed are as in :class:`LeWM`. Windows need as many rows as theirs.
    """

    context: int = 1
    window: int = 6
    ragged: bool = True
    one_step: bool = False
    prefix: bool = True
    max_prefix: int = 5
    every_start: bool = False
    loss: LossConfig = LossConfig(one_step=0.0)
    paper_steps: int = 157_700


@dataclass(frozen=True, kw_only=True)
class Both(Recipe):
    """Ours and the default: both predictors on one encoder.

    Two frames make velocity visible; jumps reach eight model steps. Reading the actions back from neighbouring latents
    keeps what they move. One window in six is long, so that a step sees many different scenes, and long predictions do
    not shape the encoder: either would otherwise teach it, in short runs, to leave out the block of PushT, which is
    hard to predict. The prefix predictor also learns from rollouts of random plans by the one-step predictor, because a
    planner tries what no demonstrator did. The reflex acts towards goals, alone or as what a search starts from.
    Windows are mirrored where the task has mirrors, and moved where episodes are few. In the last part of the training
    the encoder stands still, and the others learn what it has become. The other weights are LeWM's; what is not is
    ours.
    """

    context: int = 2
    window: int = 9
    long_share: float = 1 / 6
    one_step: bool = True
    prefix: bool = True
    max_prefix: int = 8
    prefix_shapes_encoder: bool = False
    mirror: bool = True
    shift: float = 0.05
    settle: float = 0.15
    loss: LossConfig = LossConfig(imagined=1.0, inverse=0.5, reflex=1.0)


RECIPES: dict[str, Recipe] = {"lewm": LeWM(), "fast-lewm": FastLeWM(), "wm": Both()}

PRESETS = {
    "nano": Preset(
        model=ModelConfig(),
        train=TrainConfig(),
        projections=256,
        reflex=256,
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
    # Layer by layer the published models: 18,034,478 (LeWM) and 17,913,184 (Fast-LeWM) parameters where a = 2.
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
        train=TrainConfig(batch=128, lr=5e-5),
        projections=1024,
    ),
}


def settings(recipe: str, preset: str, *, few_episodes: bool = False) -> tuple[ModelConfig, LossConfig, TrainConfig]:
    """Combine a recipe and a preset, for a task whose datasets hold many episodes or few.

    Raises:
        UnknownName: no such recipe or preset.
    """
    if recipe not in RECIPES:
        raise UnknownName("recipe", recipe, RECIPES)
    if preset not in PRESETS:
        raise UnknownName("preset", preset, ("auto", *PRESETS))
    what, size = RECIPES[recipe], PRESETS[preset]
    prefix = size.model.prefix
    assert prefix is not None
    prefix = replace(
        prefix,
        max_prefix=what.max_prefix,
        every_start=what.every_start,
        shapes_encoder=what.prefix_shapes_encoder,
        imagines=what.loss.imagined != 0,
    )
    model = replace(
        size.model,
        context=what.context,
        one_step=size.model.one_step if what.one_step else None,
        prefix=prefix if what.prefix else None,
        reflex=size.reflex if what.loss.reflex else 0,
    )
    train = replace(
        size.train,
        window=what.window,
        long_share=what.long_share,
        ragged=what.ragged,
        mirror=what.mirror,
        shift=what.shift if few_episodes else 0.0,
        settle=what.settle,
    )
    if preset == "paper":
        train = replace(train, steps=what.paper_steps, schedule=what.paper_schedule)
    weighted = [name for name in HEADS if getattr(what.loss, name)]
    return with_heads(model, replace(what.loss, projections=size.projections), train, weighted)


def with_heads(
    model: ModelConfig, loss: LossConfig, train: TrainConfig, heads: Sequence[str]
) -> tuple[ModelConfig, LossConfig, TrainConfig]:
    """Add heads that read from latents, and the goals that reflex learns from; what is there stays as it is.

    Raises:
        UnknownName: no such head.
        BadValue: a value without a reward.
    """
    for name in heads:
        if name not in HEADS:
            raise UnknownName("head", name, HEADS)
    width: dict[str, Any] = {name: getattr(model, name) or 4 * model.latent_dim for name in heads}
    weight: dict[str, Any] = {name: getattr(loss, name) or 1.0 for name in heads}
    if "reflex" in heads:
        train = replace(train, ahead=train.ahead or AHEAD)
    return replace(model, **width), replace(loss, **weight), train
