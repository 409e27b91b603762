"""What a report knows of runs: their evaluations and diagnoses, as far as they are there, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.benchmarks.record import Record, find
from worldmodel.errors import BadFile
from worldmodel.files import read_json

DIAGNOSES = ("openloop", "geometry", "probe", "surprise", "frontier")  # files in a run's evaluation folder
FLOORS = {  # what a policy is compared with, in a reader's words
    "random": "random actions",
    "noop": "doing nothing",
    "replay": "demonstration replayed",
    "simulator": "search in the simulator",
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured of one model."""

    name: str
    folder: Path
    number: int  # among those on the page
    records: Mapping[str, Record]  # evaluations, by the names of their folders, the standard protocol's first
    found: Mapping[str, Mapping[str, Any]]  # diagnoses, by name

    @property
    def env(self) -> str:
        """Its task."""
        return str([*(record.values for record in self.records.values()), *self.found.values()][0]["env"])

    @property
    def main(self) -> str | None:
        """The evaluation that speaks for it: the first."""
        return next(iter(self.records), None)

    def look(self, predictor: str) -> int:
        """Colour and mark of a predictor's curves on the whole page."""
        return 2 * self.number + (predictor != "prefix")

    def called(self, predictor: str, runs: Sequence[Run]) -> str:
        """What its curves are called."""
        return f"{predictor} predictor" if len(runs) == 1 else f"{self.name}, {predictor}"


def read_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """Read run folders, in the order given; a model folder stands for its run.

    Raises:
        BadFile: one does not exist, holds nothing to report, or something that is damaged.
    """
    folders = [folder.parent if folder.name == "model" else folder for folder in folders]
    return tuple(_read(folder, i, _name(folder, folders)) for i, folder in enumerate(folders))


def _read(folder: Path, number: int, name: str) -> Run:
    if not folder.is_dir():
        raise BadFile(f"no such run folder: {folder}")
    loaded = {path.name: Record.load(path) for path in find(folder)}
    records = dict(sorted(loaded.items(), key=lambda item: (_distance_from_standard(item[1].values), item[0])))
    files = {diagnosis: folder / "evaluation" / f"{diagnosis}.json" for diagnosis in DIAGNOSES}
    found = {diagnosis: read_json(path) for diagnosis, path in files.items() if path.is_file()}
    if not (records or found):
        raise BadFile(f"{folder} holds no evaluation to report: wm-plan --model {folder} makes one")
    return Run(name=name, folder=folder, number=number, records=records, found=found)


def _name(folder: Path, folders: Sequence[Path]) -> str:
    """Its own name, or with the folder's above where another has the same."""
    path = folder.resolve()
    same = [other for other in folders if other.resolve().name == path.name]
    return path.name if len(same) == 1 else f"{path.parent.name}/{path.name}"


def _distance_from_standard(values: Mapping[str, Any]) -> tuple[bool, str, bool, bool]:
    protocol = values["protocol"]
    name, changed = protocol["name"], bool(protocol["changed"])
    return name != "lewm-25", name, changed, values["predictor"] != "prefix"


def evaluations(runs: Sequence[Run]) -> list[tuple[str, Run, Record]]:
    """Every evaluation with what it is called: its protocol, the predictor, and the run if there are several."""
    named = []
    for run in runs:
        for folder, record in run.records.items():
            predictor = record.values["predictor"]
            name = f"{folder.removesuffix(f'-{predictor}')}, {predictor}"
            named.append((name if len(runs) == 1 else f"{run.name}: {name}", run, record))
    return named


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}%"


def interval(part: Mapping[str, Any]) -> str:
    """An interval of a share as text, in percent."""
    return f"[{100 * part['low']:.1f}, {100 * part['high']:.1f}]"


def p_value(p: float) -> str:
    """A p-value as text."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
