"""Refusing a deadline that cannot be met, when an agent is built and not when a robot waits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.errors import BadValue
from worldmodel.planners.stats import Stats

if TYPE_CHECKING:
    from worldmodel.planners.agent import Agent


def require_time(agent: Agent, deadline_ms: float) -> None:
    """Plan a few times with one iteration each, or, with a reflex to fall back to, as time allows; it is not counted.

    The plans go on from one another until the row remembers as much as it ever will, so that an accelerator has
    recorded what one row will need.

    Raises:
        BadValue: even the fastest took longer than the deadline.
    """
    S = agent.model.config.image_size
    image = np.zeros((1, S, S, 3), np.uint8)
    goal = image if agent.wants_goal else agent.fixed_goals()[:1]
    rows = list(agent.begin([0], agent.reflexive_steps).rows)  # where a search is made
    for _ in range(max(3, agent.model.config.context + 1)):
        rows = agent.replan(rows, image, goal, ms=deadline_ms if agent.controller == "both" else 0.0)
        acted = len(rows[0].queue)
        rows = [replace(rows[0], executed=acted, steps=rows[0].steps + acted)]
    least, agent.stats = min(agent.stats.milliseconds), Stats()
    if least > deadline_ms:
        what, less = f"one iteration of {agent.planner.population(0)} candidates", ", or lower candidates"
        if agent.controller != "search":
            what, less = "the reflex", ""
        raise BadValue(
            f"deadline_ms: {deadline_ms:g} is too short: encoding and {what} take {least:.1f} ms here; allow more{less}"
        )
