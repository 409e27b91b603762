"""What the study has to do, where each thing is kept, and whether it is already there.

A folder of the study holds, for each task: ``data.json``, the episodes' command and fingerprint; ``pairs-25.npz`` and
so on, the held-out pairs that everybody plays; ``compute/``, how many steps a training gets; and the runs, by the
budget, with the records of their evaluations. ``times.jsonl`` says what every process took, ``logs/`` what it said.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.benchmarks import study_compute
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import RESULT, load_pairs, save_pairs
from worldmodel.benchmarks.rl_runs import require_same
from worldmodel.benchmarks.study_variants import Variant
from worldmodel.datasets.policies import usual_episodes
from worldmodel.envs.registry import file_name
from worldmodel.errors import BadFile
from worldmodel.files import read_json, write_json

DATA_SEED = 1
NEVER = 10**9  # steps between validations: only the end is validated


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


class Study:
    """The folder of a study.

    Args:
        folder: of the study.
        data: folder of the datasets.
        pairs: how many of each task and offset.
        reference: flags of the training that compute is measured by.
    """

    def __init__(self, folder: Path, data: Path, pairs: int, reference: str) -> None:
        self.folder, self.data, self.pairs, self.reference = folder, data, pairs, reference

    # Data

    def dataset(self, task: str) -> Path:
        """Where a task's episodes are."""
        return self.data / f"{file_name(task)}.h5"

    def collecting(self, task: str) -> list[str]:
        """Arguments of wm-data that make them."""
        told = {"--env": task, "--episodes": usual_episodes(task), "--seed": DATA_SEED, "--out": self.dataset(task)}
        return ["collect", *(str(x) for pair in told.items() for x in pair)]

    def require_data(self, task: str) -> str:
        """The fingerprint of a task's episodes, which the first call notes.

        Raises:
            BadFile: they are of another task, or not those that the study began with.
        """
        from worldmodel.datasets.store import EpisodeStore

        path, note = self.dataset(task), self._of(task) / "data.json"
        with EpisodeStore(path) as store:
            if store.env != task:
                raise BadFile(f"{path} holds episodes of {store.env}, not of {task}")
            found = store.fingerprint
        if not note.exists():
            command = shlex.join(["wm-data", *self.collecting(task)])
            write_json(note, {"env": task, "fingerprint": found, "command": command})
        known = read_json(note)["fingerprint"]
        if found != known:
            raise BadFile(
                f"{path} is not what the study began with: its fingerprint is {found[:12]}, not {known[:12]}; make it "
                f"again with {read_json(note)['command']}, or begin another --folder"
            )
        return found

    def known_data(self, tasks: Sequence[str]) -> dict[str, Any]:
        """Command and fingerprint of the tasks' episodes."""
        return {task: read_json(self._of(task) / "data.json") for task in tasks}

    def manifest(self, task: str, offset: int) -> Path:
        """The held-out pairs of a task and an offset, drawn by the first call.

        Raises:
            BadFile: they are not as many, or of other episodes.
        """
        from worldmodel.benchmarks.pairs import sample_pairs
        from worldmodel.datasets.store import EpisodeStore
        from worldmodel.envs import registry

        path = self._of(task) / f"pairs-{offset}.npz"
        if not path.exists():
            with EpisodeStore(self.dataset(task)) as store:
                simulator = registry.make(task, observation="state").unwrapped
                save_pairs(path, sample_pairs(store, simulator, offset, self.pairs, seed=0))
        found, known = load_pairs(path), read_json(self._of(task) / "data.json")["fingerprint"]
        if (len(found), found.dataset) != (self.pairs, known):
            raise BadFile(f"{path} holds {len(found)} pairs, not {self.pairs}, or of other episodes: remove it")
        return path

    # Compute

    def compute(self, training: Training) -> Path:
        """Where the cost of a training's steps is kept."""
        return self._of(training.task) / "compute" / f"{training.name}.json"

    def is_measured(self, training: Training) -> bool:
        """Whether a training's steps were timed.

        Raises:
            BadFile: with other settings.
        """
        path = self.compute(training)
        if path.exists():
            again = f"{path} was made with {{name}} {{its}}, now {{ours}}: give the idea another name"
            require_same(read_json(path)["settings"], study_compute.settings_of(training.flags), again)
        return path.exists()

    def measuring(self, training: Training) -> list[str]:
        """Arguments of study_compute."""
        told = {"flags": training.flags, "reference": self.reference, "dataset": str(self.dataset(training.task))}
        return [json.dumps({**told, "out": str(self.compute(training))})]

    def steps(self, training: Training) -> int | None:
        """Optimiser steps of a training; None while nobody knows what they cost."""
        path, reference = self.compute(training), self._reference(training.task)
        if reference is None or not path.exists():
            return None
        return study_compute.steps(training.minutes, reference["seconds"], read_json(path)["ratio"])

    def _reference(self, task: str) -> dict[str, Any] | None:
        known = (read_json(path) for path in sorted((self._of(task) / "compute").glob("*.json")))
        found: dict[str, Any] | None = next((cost for cost in known if cost["flags"] == self.reference), None)
        return found

    # Runs

    def run(self, training: Training) -> Path:
        """The run folder of a training."""
        return self._of(training.task) / f"{training.minutes:g}min" / f"{training.name}-{training.seed}"

    def is_trained(self, training: Training) -> bool:
        """Whether a training has ended.

        Raises:
            BadFile: with another number of steps than it is to have.
        """
        run = self.run(training)
        path = run / "model" / "config.json"
        if not path.exists():
            return False
        done, wanted = read_json(path)["steps"], self.steps(training)
        if done != wanted:
            raise BadFile(
                f"{run} has {done} steps, {wanted} are planned by {self.compute(training)}: remove one of the two"
            )
        return True

    def training(self, training: Training) -> list[str]:
        """Arguments of wm-train."""
        told = {
            "--env": training.task,
            "--dataset": self.dataset(training.task),
            "--out": self.run(training),
            "--preset": "nano",
            "--device": "cpu",
            "--resume": "auto",
            "--seed": training.seed,
            "--steps": self.steps(training),
            "--train.validate-every": NEVER,
        }
        return [*(str(x) for pair in told.items() for x in pair), *training.flags.split()]

    def record(self, evaluation: Evaluation) -> Path:
        """The folder of an evaluation's record."""
        name = f"{evaluation.variant.name}-offset-{evaluation.offset}"
        return self.run(evaluation.training) / "evaluation" / name

    def evaluating(self, evaluation: Evaluation) -> list[str]:
        """Arguments of wm-plan, those of the idea last."""
        offset = evaluation.offset
        told = {
            "--model": self.run(evaluation.training),
            "--pairs": self._of(evaluation.training.task) / f"pairs-{offset}.npz",
            "--protocol": "lewm-25" if offset == 25 else f"offset-{offset}",
            "--device": "cpu",
            "--record": self.record(evaluation),
        }
        return ["--no-video", *(str(x) for pair in told.items() for x in pair), *evaluation.variant.plan.split()]

    def is_evaluated(self, evaluation: Evaluation) -> bool:
        """Whether there is a record of the run's weights, of these pairs and of this way of planning.

        Raises:
            BadFile: of other pairs, or of another way.
        """
        path, weights = self.record(evaluation) / RESULT, self.run(evaluation.training) / "model" / "model.safetensors"
        if not path.exists() or not weights.exists():
            return False
        values = read_json(path)
        if values["model"]["fingerprint"] != file_fingerprint(weights):
            return False
        pairs = load_pairs(self._of(evaluation.training.task) / f"pairs-{evaluation.offset}.npz")
        command = shlex.split(values["command"])
        planned = command[command.index("--record") + 2 :]
        if (values["manifest"]["sha256"], planned) != (pairs.sha256, evaluation.variant.plan.split()):
            raise BadFile(f"{path.parent} is of other pairs or of {shlex.join(planned)}, now {evaluation.variant.plan}")
        return True

    # What it took

    def note(self, what: Mapping[str, Any]) -> None:
        """Add a line on what a process took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "times.jsonl", "a") as file:
            file.write(json.dumps(what) + "\n")

    def took(self) -> list[dict[str, Any]]:
        """Those lines."""
        path = self.folder / "times.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _of(self, task: str) -> Path:
        return self.folder / file_name(task)


def of_training(training: Training) -> dict[str, Any]:
    """What tells a training's lines among those of all processes."""
    names = ("task", "name", "seed", "minutes")
    return {"command": "wm-train", **{name: getattr(training, name) for name in names}}


def of_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """What tells an evaluation's lines."""
    told = {"variant": evaluation.variant.name, "offset": evaluation.offset}
    return {**of_training(evaluation.training), "command": "wm-plan", **told}
