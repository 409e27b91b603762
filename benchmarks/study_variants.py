"""Which ideas the study compares: one row each, all of them wm-train and wm-plan as anybody can type them.

A new idea is a new row of `VARIANTS`. Rows with the same flags of wm-train share one training, named after the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worldmodel.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One idea."""

    name: str
    idea: str  # in a sentence
    train: str = ""  # flags of wm-train, on top of --recipe wm --preset nano
    plan: str = ""  # flags of wm-plan


@dataclass(frozen=True)
class Training:
    """One training: of a task, an idea and a seed, for a budget of processor minutes."""

    task: str
    name: str
    flags: str
    seed: int
    minutes: float


@dataclass(frozen=True)
class Evaluation:
    """One way of planning with a training, on the pairs of one offset."""

    training: Training
    variant: Variant
    offset: int


NAMED = ("task", "variant", "offset", "seed", "minutes")
BASELINES = ("lewm", "fast-lewm")
DEFAULT = "wm"
REFERENCE = "lewm"  # whose training compute is measured by
AS_RELEASED = "--elites 30 --iterations 30 --search correlation=0"  # the search of both baselines' released code

VARIANTS = (
    Variant(name="wm", idea="The default: recipe wm, planned with the defaults of wm-plan, by reflex and search."),
    Variant(name="lewm", idea="LeWM, recipe and search as released.", train="--recipe lewm", plan=AS_RELEASED),
    Variant(
        name="fast-lewm",
        idea="Fast-LeWM, recipe and search as released.",
        train="--recipe fast-lewm",
        plan=AS_RELEASED,
    ),
    Variant(name="lewm-our-search", idea="LeWM's model, searched as ours is.", train="--recipe lewm"),
    Variant(name="fast-lewm-our-search", idea="Fast-LeWM's model, searched as ours is.", train="--recipe fast-lewm"),
    Variant(name="one-step", idea="Plans with the one-step predictor of the same model.", plan="--predictor one-step"),
    Variant(name="context-1", idea="One frame of context: no velocity.", train="--model.context 1"),
    Variant(name="context-3", idea="Three frames of context: acceleration too.", train="--model.context 3"),
    Variant(
        name="no-inverse",
        idea="Actions are not read back from neighbouring latents.",
        train="--model.inverse 0 --loss.inverse 0",
    ),
    Variant(
        name="no-imagined",
        idea="The prefix predictor learns from demonstrations alone, not from imagined random plans.",
        train="--model.prefix.no-imagines --loss.imagined 0",
    ),
    Variant(
        name="prefix-16",
        idea="Prefixes of up to 16 steps are trained, not 8.",
        train="--model.prefix.max-prefix 16 --train.window 17",
    ),
    Variant(
        name="prefix-32",
        idea="Prefixes of up to 32 steps are trained, not 8.",
        train="--model.prefix.max-prefix 32 --train.window 33",
    ),
    Variant(name="horizon-16", idea="Plans 16 steps ahead, composing jumps of 8.", plan="--horizon 16"),
    Variant(
        name="prefix-16-horizon-16",
        idea="Plans 16 steps ahead in one jump.",
        train="--model.prefix.max-prefix 16 --train.window 17",
        plan="--horizon 16",
    ),
    Variant(name="execute-2", idea="Plans again after every second step, not after each.", plan="--execute-steps 2"),
    Variant(name="execute-5", idea="Plans again after every fifth step.", plan="--execute-steps 5"),
    Variant(
        name="wide",
        idea="The search from the reflex's plan looks as far and as long as one that starts from nothing.",
        plan="--candidates 300 --iterations 10 --search init_std=1",
    ),
    Variant(name="score-best", idea="A plan is as good as its best prefix.", plan="--search score=best"),
    Variant(
        name="score-executed",
        idea="A plan is as good as the prefix that is executed, here of two steps.",
        plan="--search score=executed --execute-steps 2",
    ),
    Variant(
        name="consistency",
        idea="Plans whose direct and two-hop predictions disagree cost more (2606.26217).",
        plan="--search consistency=1",
    ),
    Variant(name="reflex", idea="The goal-action head acts, without search.", plan="--controller reflex"),
    Variant(name="search", idea="Search alone, by the same model.", plan="--controller search"),
    Variant(
        name="no-reflex",
        idea="No goal-action head shapes the latents; search alone.",
        train="--model.reflex 0 --loss.reflex 0 --train.ahead 0",
    ),
    Variant(name="reflex-4", idea="The reflex counts four times as much in the loss.", train="--loss.reflex 4"),
    Variant(
        name="less-one-step",
        idea="One-step predictions shape the encoder a tenth as much; the predictor itself learns as fast.",
        train="--loss.one-step 0.1",
    ),
    Variant(name="more-one-step", idea="They shape it three times as much.", train="--loss.one-step 3"),
    Variant(name="no-mirror", idea="Windows are never mirrored.", train="--train.no-mirror"),
    Variant(name="no-settle", idea="The encoder learns to the end.", train="--train.settle 0"),
)


def chosen(names: Sequence[str], table: Sequence[Variant]) -> list[Variant]:
    """Variants of these names with the baselines and the default, in the table's order; all where none is named.

    Raises:
        UnknownName: no such variant.
    """
    known = {variant.name: variant for variant in table}
    for name in names:
        if name not in known:
            raise UnknownName("--variants", name, known)
    wanted = {*names, *BASELINES, DEFAULT} if names else known.keys()
    return [variant for variant in table if variant.name in wanted]


def training_of(variant: Variant, table: Sequence[Variant]) -> str:
    """Name of the training that a variant plans with: of the first row with the same flags of wm-train."""
    return next(other.name for other in table if other.train.split() == variant.train.split())


def named(evaluation: Evaluation) -> dict[str, Any]:
    """What tells an evaluation from others, by the names of `NAMED`."""
    training = evaluation.training
    told = (training.task, evaluation.variant.name, evaluation.offset, training.seed, training.minutes)
    return dict(zip(NAMED, told))


def of_training(training: Training) -> dict[str, Any]:
    """What tells a training's lines among those of all processes."""
    names = ("task", "name", "seed", "minutes")
    return {"command": "wm-train", **{name: getattr(training, name) for name in names}}


def of_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """What tells an evaluation's lines."""
    told = {"variant": evaluation.variant.name, "offset": evaluation.offset}
    return {**of_training(evaluation.training), "command": "wm-plan", **told}
