"""What went wrong, said in one line: the thing, what was expected, and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WorldModelError(Exception):
    """A user's mistake or a broken input. Commands print its one line and exit with code 2."""

    def __reduce__(self) -> tuple[type[WorldModelError], tuple[str]]:
        """Travel between processes as the bare line: subclasses take other arguments than the one kept."""
        return WorldModelError, (str(self),)


class UnknownName(WorldModelError):
    """A name that is not in a table, with the nearest one suggested; ``summary`` stands for a table that is long."""

    def __init__(self, kind: str, name: str, choices: Iterable[str], summary: str = "") -> None:
        self.choices = sorted(choices)
        near = get_close_matches(name, self.choices, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}choose from {summary or ', '.join(self.choices)}")


class BadValue(WorldModelError):
    """An option or argument outside its range."""


class BadFile(WorldModelError):
    """A file or folder that is missing, truncated, foreign, or made for something else."""


class MissingExtra(WorldModelError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'worldmodel[{extra}]'")
