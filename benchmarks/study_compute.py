"""How many steps each training of the study gets, so that all of them take the same processor time.

Equal compute is equal processor seconds of training steps: not equal steps, since a step of one idea may cost twice one
of another; and not equal wall clock, since machines are shared. Nor is a clock of processor seconds stopped while a
training runs: they, too, swell when a neighbour takes the cache or the other half of a core, so luck would decide who
sees how much, and no resumed run would be the run itself. Instead a step of each training is timed against one of the
reference (recipe ``lewm``, which stays what it is when our default changes), in turns, in one process with one thread,
by the training loop itself, loading included: the median of their ratio over the turns hardly depends on who else was
computing. Trainings whose steps do the same work, with other weights of the same terms, share one timing. The
reference's own seconds a step are measured once for each task and kept, so that ideas which join later are cut by the
same measure. Validation, which is no training, is left out. What the processes really used is noted beside it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from worldmodel.config import LossConfig, ModelConfig, TrainConfig
from worldmodel.plain import flat

if TYPE_CHECKING:
    from worldmodel.cli.train_options import Options

WARM, STEPS, ROUNDS = 1, 4, 8  # steps that do not count and that do, in a turn; turns of both sides
_FROM_THE_SECOND_STEP = 1 - 1e-12  # share of a training in which the encoder stands still
DECIDED = ("train.steps", "train.seed", "train.validate_every")  # by the study itself, not by an idea


def steps(minutes: float, reference_seconds: float, ratio: float) -> int:
    """Optimiser steps that take so many processor minutes.

    Args:
        minutes: of one core.
        reference_seconds: of a step of the reference.
        ratio: what a step costs, over one of the reference.
    """
    return max(1, round(60 * minutes / (reference_seconds * ratio)))


def options_of(flags: str, task: str) -> Options:
    """What wm-train makes of a variant's flags."""
    from worldmodel.cli.train_options import parse

    return parse(["--env", task, "--preset", "nano", "--device", "cpu", *flags.split()])


def settings_of(flags: str, task: str) -> dict[str, Any]:
    """Every setting that an idea decides for a task, by its dotted name, so that a changed idea is noticed."""
    options = options_of(flags, task)
    found = _by_name(model=options.model, loss=options.loss, train=options.train)
    data = ("model.env", "model.action_dim")
    return {name: value for name, value in found.items() if name not in (*DECIDED, *data)}


def _by_name(**parts: Any) -> dict[str, Any]:
    return {f"{part}.{name}": value for part, config in parts.items() for name, value in flat(config).items()}


def work_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that decide what a step costs: of a term's weight only whether it is 0.

    What an older file lacks is as by default.
    """
    usual = _by_name(model=ModelConfig(), loss=LossConfig(), train=TrainConfig())
    found: dict[str, Any] = json.loads(json.dumps({**usual, **settings}))  # tuples are lists in files
    sizes = ("loss.projections", "loss.knots")
    return {
        name: bool(value) if name.startswith("loss.") and name not in sizes else value for name, value in found.items()
    }


def measure(both: Sequence[str], dataset: str) -> dict[str, Any]:
    """Time a training's steps against the reference's.

    Args:
        both: flags of the reference and of the training, or of the reference alone.
        dataset: episodes.

    Returns:
        ``seconds`` of a step, ``reference_seconds``, their ``ratio``, the ratio of each of the ``rounds``, and
        ``frames`` that a step encodes, on average over a training: none where the encoder stands still.
    """
    sides = [Stepping(flags, dataset) for flags in both]
    turns = [[side.turn() for side in sides] for _ in range(ROUNDS)]
    seconds = [median(turn[i] for turn in turns) for i in range(len(sides))]
    ratios = [turn[-1] / turn[0] for turn in turns]
    found = {"seconds": seconds[-1], "reference_seconds": seconds[0], "ratio": median(ratios), "rounds": ratios}
    return {**found, "frames": (1 - sides[-1].config.settle) * mean(sides[-1].frames)}


class Stepping:
    """A training that is done a few steps at a time.

    Args:
        flags: of wm-train.
        dataset: episodes.
    """

    def __init__(self, flags: str, dataset: str) -> None:
        import torch

        from worldmodel.cli.batches import Batches
        from worldmodel.datasets.store import EpisodeStore
        from worldmodel.datasets.windows import action_bounds, action_statistics
        from worldmodel.model import WorldModel
        from worldmodel.run import RunConfig
        from worldmodel.terms import Loss

        with EpisodeStore(dataset) as store:
            options = options_of(flags, store.env)
            sizes = replace(options.model, env=store.env, action_dim=store.columns["action"][0][1])
            told: dict[str, Any] = {
                "env": store.env,
                "recipe": options.recipe,
                "preset": options.preset,
                "dataset": dataset,
            }
            config = RunConfig(**told, model=sizes, loss=options.loss, train=options.train)
            self.batches = Batches(store, config, torch.device("cpu"))
            self.model = WorldModel(sizes)
            self.model.set_actions(*action_statistics(store), *action_bounds(store))
        self.loss, self.config = Loss(config.loss, sizes.predictions), config.train
        self.latents = self.batches.settled(self.model)
        self.frames: list[int] = []  # of each step
        self.drawn = 0  # steps on latents

    def turn(self) -> float:
        """Processor seconds of a step, mean of a few, by the loop that trains.

        Steps in which the encoder stands still count by their share. So few of them meet hardly any frame twice,
        unlike a whole training: they are taken to be dearer than they are.
        """
        share = self.config.settle
        joint = self._turn(0.0)
        return (1 - share) * joint + share * self._turn(_FROM_THE_SECOND_STEP) if share else joint

    def _turn(self, settle: float) -> float:
        from worldmodel.training import train

        clock: list[float] = []

        def tick() -> None:
            clock.append(time.process_time())
            if len(clock) > WARM + STEPS:
                raise _EnoughError

        def sample(_: int) -> Any:
            if settle:  # for batch statistics, which are no training: two windows of each length do
                return [{name: x[:2] for name, x in group.items()} for group in self.batches(0)]
            tick()
            windows = self.batches(len(self.frames))
            self.frames.append(sum(x.shape[:-3].numel() for group in windows for x in group.values() if x.ndim > 3))
            return windows

        def latents(_: int) -> Any:
            tick()
            self.drawn += 1
            return self.latents(self.drawn)

        with TemporaryDirectory() as folder, suppress(_EnoughError):
            train(
                self.model,
                self.loss,
                replace(self.config, settle=settle),
                sample,
                Path(folder),
                settled=lambda _: latents,
            )
        return (clock[-1] - clock[WARM]) / STEPS


class _EnoughError(Exception):
    """Nothing is wrong: a turn ends here."""


def main() -> None:
    """Measure what the first argument says: JSON with ``task``, ``flags``, ``reference``, ``dataset`` and ``out``."""
    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.cli import common
    from worldmodel.files import write_json

    given = json.loads(sys.argv[1])
    torch.set_num_threads(1)

    def work() -> None:
        found = measure(list(dict.fromkeys((given["reference"], given["flags"]))), given["dataset"])
        about = {"flags": given["flags"], "settings": settings_of(given["flags"], given["task"])}
        write_json(given["out"], {**about, **found, **provenance(torch.device("cpu"))})

    common.run(work)


if __name__ == "__main__":
    main()
