"""What a report knows of runs: their evaluations and diagnoses, as far as they are there, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import Record, find
from worldmodel.benchmarks.report import acting
from worldmodel.cli import common
from worldmodel.errors import BadFile
from worldmodel.files import read_json

DIAGNOSES = ("openloop", "geometry", "probe", "surprise", "frontier")  # files in a run's evaluation folder
FLOORS = {  # what a policy is compared with, in a reader's words
    "random": "random actions",
    "noop": "doing nothing",
    "replay": "demonstration replayed",
}
ACTING = ("prefix", "one-step", "reflex", "reflex and prefix", "reflex and one-step")  # who, as `who` says it
OTHER = "of other weights"  # what was measured before the model was trained again


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured of one model."""

    name: str
    folder: Path
    number: int  # among those on the page
    weights: str | None  # SHA-256 of the model as it is now; None if it is gone
    records: Mapping[str, Record]  # evaluations, by the names of their folders, the standard protocol's first
    found: Mapping[str, Mapping[str, Any]]  # diagnoses of these weights, by name
    outdated: Mapping[str, Mapping[str, Any]]  # diagnoses of other weights

    @property
    def env(self) -> str:
        """Its task."""
        measured = [*(record.values for record in self.records.values()), *self.found.values(), *self.outdated.values()]
        return str(measured[0]["env"])

    @property
    def main(self) -> str | None:
        """The evaluation that speaks for it: the first."""
        return next(iter(self.records), None)

    def current(self, values: Mapping[str, Any]) -> bool:
        """Whether something was measured of the weights that are there now, as far as that is known."""
        return is_current(values, self.weights)

    def look(self, name: str) -> tuple[int, int]:
        """Colour and mark of the curves of a predictor, or of who acts, on the whole page; and their dash."""
        place = ACTING.index(name)
        return len(ACTING) * self.number + place, place

    def called(self, name: str, runs: Sequence[Run]) -> str:
        """What they are called."""
        return f"{name}{'' if name == 'reflex' else ' predictor'}" if len(runs) == 1 else f"{self.name}, {name}"


def read_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """Read run folders, in the order given; a model folder stands for its run.

    Raises:
        BadFile: one does not exist, holds nothing to report, or something that is damaged.
    """
    folders = [common.run_folder(folder) for folder in folders]
    return tuple(_read(folder, i, _name(folder, folders)) for i, folder in enumerate(folders))


def _read(folder: Path, number: int, name: str) -> Run:
    if not folder.is_dir():
        raise BadFile(f"no such run folder: {folder}")
    now = weights(folder)
    loaded = {path.name: Record.load(path) for path in find(folder)}
    files = {diagnosis: folder / "evaluation" / f"{diagnosis}.json" for diagnosis in DIAGNOSES}
    there = {diagnosis: read_json(path) for diagnosis, path in files.items() if path.is_file()}
    if not (loaded or there):
        raise BadFile(
            f"{folder} holds no evaluation to report: wm-plan --model {folder} makes one, or wm-bench openloop where "
            "nothing simulates its task"
        )
    order = sorted(loaded, key=lambda n: (not is_current(loaded[n].values, now), *_standard(loaded[n].values), n))
    found = {diagnosis: values for diagnosis, values in there.items() if is_current(values, now)}
    outdated = {diagnosis: values for diagnosis, values in there.items() if diagnosis not in found}
    records = {n: loaded[n] for n in order}
    return Run(name=name, folder=folder, number=number, weights=now, records=records, found=found, outdated=outdated)


def weights(folder: Path) -> str | None:
    """SHA-256 of a run's model as it is now; None if it is gone."""
    file = folder / "model" / "model.safetensors"
    return file_fingerprint(file) if file.is_file() else None


def is_current(values: Mapping[str, Any], weights: str | None) -> bool:
    """Whether something was measured of these weights, as far as that is known."""
    return weights is None or values["model"]["fingerprint"] == weights


def _name(folder: Path, folders: Sequence[Path]) -> str:
    """Its own name, or with the folder's above where another has the same."""
    path = folder.resolve()
    same = [other for other in folders if other.resolve().name == path.name]
    return path.name if len(same) == 1 else f"{path.parent.name}/{path.name}"


def _standard(values: Mapping[str, Any]) -> tuple[bool, float, str, bool, int]:
    """What sorts evaluations: the standard protocol's first, then nearer goals."""
    protocol, offset = values["protocol"], values["offset"]
    far = math.inf if offset is None else offset
    return (
        protocol["name"] != "lewm-25",
        far,
        protocol["name"],
        bool(protocol["changed"]),
        ACTING.index(who(values)),
    )


def who(values: Mapping[str, Any]) -> str:
    """Who acted in an evaluation, one of ``ACTING``."""
    return acting(values).removesuffix(" predictor")


def by_task(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Runs of one task together, and what begins the title of their chart: the task where runs of another exist."""
    groups = {env: [run for run in runs if run.env == env] for env in dict.fromkeys(run.env for run in runs)}
    return [(f"{env}: " if len(groups) > 1 < len(same) else "", same) for env, same in groups.items()]


def evaluations(runs: Sequence[Run]) -> list[tuple[str, Run, Record]]:
    """Every evaluation with what it is called: its protocol, who acted, and the run if there are several."""
    named = []
    for run in runs:
        for folder, record in run.records.items():
            name = f"{folder.removesuffix('-' + record.values['predictor'])}, {who(record.values)}"
            name += "" if run.current(record.values) else f" ({OTHER})"
            named.append((name if len(runs) == 1 else f"{run.name}: {name}", run, record))
    return named


def judged_on(values: Mapping[str, Any]) -> str:
    """The episodes of a diagnosis, and how much of them."""
    data = values.get("dataset") or {}
    counts = {
        "frames to fit on" if key == "n_fit" else key.removeprefix("n_"): n
        for key, n in values.items()
        if key.startswith("n_")
    }
    said = [f"{max(n) if isinstance(n, list) else n:,} {name}" for name, n in counts.items()]
    said += [f"{data['split']} split"] if data.get("split") else []
    said += [str(data["path"])] if data.get("path") else []
    return ", ".join(said + ([f"seed {values['seed']}"] if "seed" in values else []))


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}%"


def interval(part: Mapping[str, Any]) -> str:
    """An interval of a share as text, in percent."""
    return f"[{100 * part['low']:.1f}, {100 * part['high']:.1f}]"


def simulator(values: Mapping[str, Any]) -> str | None:
    """What the ceiling by the true simulator is called, if it was measured."""
    one = values.get("simulator")
    return f"CEM {one['candidates']} x {one['iterations']} on the true simulator, n = {one['n']}" if one else None


def fixed(words: str) -> str:
    """Words that stay on one line."""
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def p_value(p: float) -> str:
    """A p-value as text."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
