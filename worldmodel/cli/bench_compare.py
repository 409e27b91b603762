"""``wm-bench compare A B``: two evaluations of the same start and goal pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from worldmodel.cli import common
from worldmodel.errors import BadFile

if TYPE_CHECKING:
    from worldmodel.benchmarks.record import Record


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two evaluations of the same start and goal pairs: a paired difference, its interval and McNemar's p."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Folder of an evaluation, runs/<run>/evaluation/<name>, or a run that has just one."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """The other."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write every number here."""


def compare(options: Annotated[Compare, tyro.conf.arg(name="")]) -> None:
    """Compare two evaluations of the same start and goal pairs: a paired difference, its interval and McNemar's p."""
    common.require_writable("--json", options.json)
    from worldmodel.benchmarks import compare as pairwise
    from worldmodel.files import write_json

    folders = [evaluation(path) for path in (options.first, options.second)]
    found = pairwise.compare(*map(_load, folders))
    for name, folder in zip("AB", folders):
        print(f"{name}: {folder}")
    print(common.aligned(pairwise.rows(found)))
    if options.json is not None:
        first, second = ({"folder": str(folder)} for folder in folders)
        write_json(options.json, {**found, "first": found["first"] | first, "second": found["second"] | second})
        print(f"numbers: {options.json}")


def evaluation(path: str) -> Path:
    """The folder of an evaluation, given that, or a run with one.

    Raises:
        BadFile: no evaluation, or several.
    """
    from worldmodel.benchmarks.record import RESULT, find

    if (Path(path) / RESULT).is_file():
        return Path(path)
    if not Path(path).is_dir():
        raise BadFile(f"no such folder: {path}")
    found = find(path)
    if len(found) != 1:
        names = ", ".join(map(str, found)) or f"none; wm-plan --model {path} makes one"
        raise BadFile(f"{path}: expected the folder of one evaluation, found {names}")
    return found[0]


def _load(folder: Path) -> Record:
    from worldmodel.benchmarks.record import Record

    return Record.load(folder)
