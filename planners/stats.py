"""What planning took."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from worldmodel.interfaces import PlannerStats

KEPT = 10_000  # calls, solves and ticks that are kept one by one: a robot may run for months
last: Any = partial(field, default_factory=partial(deque, maxlen=KEPT))


@dataclass
class Stats:
    """The wall clock of every call that planned, encoding included, and how many rows it served."""

    plans: int = 0  # made in all, counting every row of a solve
    reflexes: int = 0  # of the plans, those of the reflex alone: it acts so, the goal was far, or no time was left
    total_ms: float = 0.0  # that they took
    milliseconds: deque[float] = last()  # of the last calls
    rows: deque[int] = last()  # that those calls served
    solves: deque[PlannerStats] = last()  # one a call; more if rows differ

    @property
    def ms_per_plan(self) -> float:
        """Mean milliseconds for one row's plan; NaN before the first."""
        return self.total_ms / self.plans if self.plans else float("nan")

    def count(self, milliseconds: float, rows: int) -> None:
        """Note a call."""
        self.plans += rows
        self.total_ms += milliseconds
        self.milliseconds.append(milliseconds)
        self.rows.append(rows)

    def add(self, other: Stats) -> None:
        """Count what another agent did as well."""
        self.plans += other.plans
        self.reflexes += other.reflexes
        self.total_ms += other.total_ms
        self.milliseconds += other.milliseconds
        self.rows += other.rows
        self.solves += other.solves
