"""What a controller counts while it serves a robot, and the memory of the process."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldmodel.planners.stats import last


@dataclass(frozen=True, kw_only=True)
class Report:
    """How serving went so far; times in milliseconds, their quantiles of the last 10,000."""

    ticks: int  # actions given
    missed: int  # ticks without one, because the robot's functions took longer than a tick
    plans: int  # that were taken into use
    late: int  # solves that were not ready when the next one was due
    fallback: int  # ticks meanwhile, on which the last plan went on
    held: int  # ticks on which there was no plan, or its actions were used up
    jitter_p50_ms: float  # how long after its tick an action was given, in ``run``; NaN without it
    jitter_p99_ms: float
    plan_p50_ms: float  # from the picture to the plan
    plan_p99_ms: float
    memory_mib: float  # of the process, now; NaN where the system does not say


@dataclass(kw_only=True)
class Counts:
    """The numbers that a ``Report`` is made of; times in seconds."""

    ticks: int = 0
    missed: int = 0
    plans: int = 0
    late: int = 0
    fallback: int = 0
    held: int = 0
    jitter: deque[float] = last()
    latency: deque[float] = last()

    def report(self) -> Report:
        """What they are now."""
        jitter_p50, jitter_p99 = _quantiles(self.jitter)
        plan_p50, plan_p99 = _quantiles(self.latency)
        return Report(
            ticks=self.ticks,
            missed=self.missed,
            plans=self.plans,
            late=self.late,
            fallback=self.fallback,
            held=self.held,
            jitter_p50_ms=jitter_p50,
            jitter_p99_ms=jitter_p99,
            plan_p50_ms=plan_p50,
            plan_p99_ms=plan_p99,
            memory_mib=resident_mib(),
        )


def resident_mib() -> float:
    """MiB of memory that the process holds now; NaN where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds, each of something that happened; NaN of nothing."""
    if not seconds:
        return math.nan, math.nan
    p50, p99 = 1000 * np.quantile(np.array(seconds), (0.5, 0.99), method="inverted_cdf")
    return float(p50), float(p99)
