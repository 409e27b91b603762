"""What the study has to do, where each thing is kept, and whether it is already there.

A folder of the study holds, for each task: ``data.json``, the episodes' command and fingerprint; ``pairs-25.npz`` and
so on, the held-out pairs that everybody plays; ``compute/``, how many steps a training gets; and the runs, by the
budget, with the records of their evaluations. ``times.jsonl`` says what every process took, ``logs/`` what it said.
The results file keeps of all that what another machine needs to go on: all but weights and records.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from worldmodel.benchmarks import study_compute
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import RESULT, load_pairs, save_pairs
from worldmodel.benchmarks.rl_runs import require_same
from worldmodel.benchmarks.study_variants import DEFAULT, Evaluation, Training, named
from worldmodel.datasets.policies import usual_episodes
from worldmodel.envs.registry import file_name
from worldmodel.errors import BadFile
from worldmodel.files import read_json, write_json

DATA_SEED = 1
NEVER = 10**9  # steps between validations: only the end is validated


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
        self.kept: dict[str, Any] = {"data": {}, "compute": {}, "pairs": {}, "cells": [], "variants": []}

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

        path = self.dataset(task)
        with EpisodeStore(path) as store:
            if store.env != task:
                raise BadFile(f"{path} holds episodes of {store.env}, not of {task}")
            found = store.fingerprint
        known = self.known_data(task)
        if known is None:
            command = shlex.join(["wm-data", *self.collecting(task)])
            known = {"env": task, "fingerprint": found, "command": command}
            write_json(self.note_of(task), known)
        if found != known["fingerprint"]:
            raise BadFile(
                f"{path} is not what the study began with: its fingerprint is {found[:12]}, not "
                f"{known['fingerprint'][:12]}; make it again with {known['command']}, or begin another study"
            )
        return found

    def known_data(self, task: str) -> dict[str, Any] | None:
        """Command and fingerprint of a task's episodes; None before they are there."""
        path = self.note_of(task)
        return read_json(path) if path.exists() else self.kept["data"].get(task)

    def manifest(self, task: str, offset: int) -> Path:
        """The held-out pairs of a task and an offset, drawn by the first call.

        Raises:
            BadFile: they are not as many, or of other episodes.
        """
        from worldmodel.benchmarks.pairs import sample_pairs
        from worldmodel.datasets.store import EpisodeStore
        from worldmodel.envs import registry

        path = self.pairs_of(task, offset)
        if not path.exists():
            with EpisodeStore(self.dataset(task)) as store:
                simulator = registry.make(task, observation="state").unwrapped
                save_pairs(path, sample_pairs(store, simulator, offset, self.pairs, seed=0))
        found, known = load_pairs(path), self.known_data(task)
        if (len(found), found.dataset) != (self.pairs, known and known["fingerprint"]):
            raise BadFile(f"{path} holds {len(found)} pairs, not {self.pairs}, or of other episodes: remove it")
        kept = {c["manifest"] for c in self.kept["cells"] if (c["task"], c["offset"]) == (task, offset)}
        if kept - {found.sha256}:
            raise BadFile(f"{path} holds other pairs than those of the results: give another --results")
        return path

    def pairs_of(self, task: str, offset: int) -> Path:
        """Where the pairs of a task and an offset are."""
        return self._of(task) / f"pairs-{offset}.npz"

    # Compute

    def timing(self, task: str, name: str) -> Path:
        """Where the cost of a training's steps is kept."""
        return self._of(task) / "compute" / f"{name}.json"

    def cost(self, training: Training) -> dict[str, Any] | None:
        """What a step of a training costs, as `study_compute.measure` found it; None before it did."""
        return self.costs(training.task).get(training.name)

    def costs(self, task: str) -> dict[str, dict[str, Any]]:
        """Those of a task's trainings, by name."""
        here = {path.stem: read_json(path) for path in sorted(self.timing(task, "*").parent.glob("*.json"))}
        return {**self.kept["compute"].get(task, {}), **here}

    def is_measured(self, training: Training) -> bool:
        """Whether a training's steps were timed.

        Raises:
            BadFile: with other settings.
        """
        known = self.cost(training)
        if known:
            again = f"steps of {training.name} were timed with {{name}} {{its}}, now {{ours}}: name the idea otherwise"
            require_same(known["settings"], study_compute.settings_of(training.flags, training.task), again)
        return known is not None

    def share_cost(self, training: Training) -> bool:
        """Take the cost of steps that do the same work, the default's first, and say whether one is known."""
        settings = study_compute.settings_of(training.flags, training.task)
        work = study_compute.work_of(settings)
        for _, cost in sorted(self.costs(training.task).items(), key=lambda item: item[0] != DEFAULT):
            if study_compute.work_of(cost["settings"]) == work:
                about = {"flags": training.flags, "settings": settings}
                write_json(self.timing(training.task, training.name), {**cost, **about})
                return True
        return False

    def measuring(self, training: Training) -> list[str]:
        """Arguments of study_compute."""
        task, out = training.task, self.timing(training.task, training.name)
        told = {"task": task, "flags": training.flags, "reference": self.reference, "dataset": str(self.dataset(task))}
        return [json.dumps({**told, "out": str(out)})]

    def steps(self, training: Training) -> int | None:
        """Optimiser steps of a training; None while nobody knows what they cost."""
        costs = self.costs(training.task)
        reference = next((cost for cost in costs.values() if cost["flags"] == self.reference), None)
        if reference is None or training.name not in costs:
            return None
        return study_compute.steps(training.minutes, reference["seconds"], costs[training.name]["ratio"])

    # Runs

    def run(self, training: Training) -> Path:
        """The run folder of a training."""
        return self._of(training.task) / f"{training.minutes:g}min" / f"{training.name}-{training.seed}"

    def weights(self, training: Training) -> Path:
        """Its weights, once it has ended."""
        return self.run(training) / "model" / "model.safetensors"

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
            path = self.timing(training.task, training.name)
            raise BadFile(f"{run} has {done} steps, {wanted} are planned by {path}: remove one of the two")
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
            "--pairs": self.pairs_of(evaluation.training.task, offset),
            "--protocol": "lewm-25" if offset == 25 else f"offset-{offset}",
            "--device": "cpu",
            "--record": self.record(evaluation),
        }
        return ["--no-video", *(str(x) for pair in told.items() for x in pair), *evaluation.variant.plan.split()]

    def is_evaluated(self, evaluation: Evaluation) -> bool:
        """Whether an evaluation of these pairs and this way of planning is recorded here, or kept in the results.

        Raises:
            BadFile: of other pairs, or of another way.
        """
        return self.is_recorded(evaluation) or self.cell(evaluation) is not None

    def is_recorded(self, evaluation: Evaluation) -> bool:
        """Whether there is a record, of the run's weights.

        Raises:
            BadFile: of other pairs, or of another way.
        """
        path, weights = self.record(evaluation) / RESULT, self.weights(evaluation.training)
        if not path.exists() or not weights.exists():
            return False
        values = read_json(path)
        if values["model"]["fingerprint"] != file_fingerprint(weights):
            return False
        self._require_alike(evaluation, path.parent, values["manifest"]["sha256"], values["command"])
        return True

    def cell(self, evaluation: Evaluation) -> dict[str, Any] | None:
        """What the results keep of an evaluation, unless other weights are here; to have it done again, take it out.

        Raises:
            BadFile: it is of other pairs, of another way, or of another training.
        """
        told = named(evaluation)
        found: dict[str, Any] | None = next((c for c in self.kept["cells"] if told.items() <= c.items()), None)
        if found:
            self._require_alike(evaluation, f"a cell of the results, {told},", found["manifest"], found["command"])
            cost = self.costs(evaluation.training.task)[found["training"]]
            again = (
                f"the results' {evaluation.variant.name} is of {{name}} {{its}}, now {{ours}}: name the idea otherwise"
            )
            training = evaluation.training
            require_same(cost["settings"], study_compute.settings_of(training.flags, training.task), again)
            if (weights := self.weights(training)).exists() and file_fingerprint(weights) != found["model"]:
                return None
        return found

    def _require_alike(self, evaluation: Evaluation, where: object, manifest: str, command: str) -> None:
        path = self.pairs_of(evaluation.training.task, evaluation.offset)
        pairs = load_pairs(path).sha256 if path.exists() else manifest
        line = shlex.split(command)
        planned = line[line.index("--record") + 2 :]
        if (manifest, planned) != (pairs, evaluation.variant.plan.split()):
            raise BadFile(f"{where} is of other pairs or of {shlex.join(planned)}, now {evaluation.variant.plan}")

    # What it took

    def note(self, what: Mapping[str, Any]) -> None:
        """Add a line on what a process took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "times.jsonl", "a") as file:
            file.write("\n" + json.dumps(what))  # a line that was cut off before is alone

    def took(self) -> list[dict[str, Any]]:
        """Those lines, without any that was cut off."""
        path, found = self.folder / "times.jsonl", []
        for line in path.read_text().splitlines() if path.exists() else ():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    # Where

    def _of(self, task: str) -> Path:
        return self.folder / file_name(task)

    def note_of(self, task: str) -> Path:
        """Where command and fingerprint of a task's episodes are."""
        return self._of(task) / "data.json"
