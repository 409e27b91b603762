"""When a plan may arrive; needs no torch."""

from __future__ import annotations

ARRIVALS = (5, 8, 16, 32)  # model steps at which a long plan may arrive


def arrival_steps(horizon: int, goal_steps: int | None) -> tuple[int, ...]:
    """Choose when a plan may arrive; empty means at its last step only.

    A horizon within the way to the goal aims at its last step. A longer one must not hurt, so it may arrive when the
    way is over or earlier, and not later than after twice the way: the farther a prediction, the more often it only
    seems to arrive, and who may always arrive later never does. When the way is unknown, any of the times will do.

    Args:
        horizon: H.
        goal_steps: model steps to the goal, ``ceil(goal offset / F)``; None when unknown.
    """
    if goal_steps is not None and horizon <= goal_steps:
        return ()
    earlier = {step for step in ARRIVALS if step < horizon} | ({goal_steps} if goal_steps else set())
    latest = horizon if goal_steps is None else 2 * goal_steps
    return tuple(sorted(step for step in {*earlier, horizon} if step <= latest)) if earlier else ()


def way_left(offset: int, passed: int) -> int:
    """Environment steps left to a goal; who has not arrived in time has the same time once more."""
    return offset - passed % offset
