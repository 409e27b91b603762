"""What the results of a study keep for whoever goes on with it, on another machine as well.

Of the data command and fingerprint, of each training what a step costs, of each evaluation its cell with who solved
which pair. Not kept are weights and records: a further way of planning with an old training needs that training again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worldmodel.benchmarks.study_runs import Study
from worldmodel.errors import BadFile
from worldmodel.files import read_json, write_json


def recall(study: Study, results: Path, minutes: float) -> None:
    """Go on from what results files keep, wherever they were made.

    Data and costs of steps are those of every stage in the folder, evaluations those of the file.

    Raises:
        BadFile: it is of other minutes or pairs, the files or the folder disagree, or one is none of ours.
    """
    for path in sorted({*results.parent.glob("study-*.json"), results}):
        found = read_json(path) if path.exists() else {}
        lacking = study.kept.keys() - found.keys() if found else ()
        if lacking:
            raise BadFile(f"{path} is no study's, or of an older version: it has no {', '.join(sorted(lacking))}")
        if found and path == results:
            was = found["options"]
            if (was["budget_minutes"], was["pairs"]) != (minutes, study.pairs):
                raise BadFile(
                    f"{path} is of {was['budget_minutes']:g} minutes and {was['pairs']} pairs, not of {minutes:g} "
                    f"and {study.pairs}: give these, or another --results"
                )
            study.kept |= {name: found[name] for name in ("pairs", "cells", "variants")}
        for task, about in found.get("data", {}).items():
            note, mine = study.note_of(task), study.kept["data"].setdefault(task, about)
            _agree(note, *(x.get("fingerprint") for x in (_here(note, about), mine, about)), results=path)
        for task, its in found.get("compute", {}).items():
            mine = study.kept["compute"].setdefault(task, {})
            for name, cost in its.items():
                timing = study.timing(task, name)
                _agree(timing, _here(timing, cost), mine.setdefault(name, cost), cost, results=path)


def restore(study: Study, task: str) -> None:
    """Write what the results keep of a task's data and costs into the folder."""
    files = {study.timing(task, name): cost for name, cost in study.kept["compute"].get(task, {}).items()}
    files |= {study.note_of(task): study.kept["data"][task]} if task in study.kept["data"] else {}
    for path, told in files.items():
        if not path.exists():
            write_json(path, told)


def _here(path: Path, otherwise: Any) -> Any:
    return read_json(path) if path.exists() else otherwise


def _agree(path: Path, here: object, known: object, told: object, *, results: Path) -> None:
    if not here == known == told:
        raise BadFile(f"{path} is not what {results} keeps: remove one of the two, or give another --results")
