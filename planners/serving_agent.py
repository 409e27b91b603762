"""An ``Agent`` as a controller asks it: what is seen and what was sent go in, a whole plan comes out.

Shapes: c pictures, S pixels, H horizon (model steps), F action block, a action size, A = F * a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from worldmodel.errors import BadValue
from worldmodel.planners.agent import Agent
from worldmodel.planners.goals import drawn
from worldmodel.planners.reflex import Reflex
from worldmodel.planners.state import AgentState
from worldmodel.planners.stats import Stats


class ServedAgent:
    """Plans as the agent does, goals, objectives and deadlines included, from any tick to any other.

    Args:
        agent: it is not changed; its objects are shared.

    Attributes:
        reflex: plans at once, in any thread; None where the agent searches only, or does not search.

    Raises:
        BadValue: an agent of numbered actions, or one that counts the steps to its goal.
    """

    def __init__(self, agent: Agent) -> None:
        if agent.actions.first is not None:
            raise BadValue("agent: its environment numbers its actions, expected one that takes the model's numbers")
        if agent.config.goal_offset is not None:
            raise BadValue("goal_offset: a robot is served without end, expected an agent without it")
        self.agent = copy(agent)
        self.agent.execute_steps = agent.config.horizon  # a plan is all of it, a reflex's too
        self.reflex: ServedAgent | None = None
        if isinstance(agent.guide, Reflex) and agent.controller == "both":
            quick = copy(agent)
            quick.controller = "reflex"
            self.reflex = ServedAgent(quick)
        self.own = agent.goal
        self.goal: Any = None  # that this one was given; None is the agent's own
        config = agent.model.config
        self.context, self.action_block, self.action_dim = config.context, config.action_block, config.action_dim

    def shown(self, goal: Any) -> Any:
        """A goal that any thread can take: a state is drawn here, where the environment may be used."""
        if isinstance(goal, Mapping) and [*goal] == ["state"]:
            return drawn(goal["state"], self.agent.env)
        return copy(goal)

    def plan(
        self, pictures: Sequence[np.ndarray], sent: np.ndarray, goal: Any, rest: np.ndarray, number: int
    ) -> np.ndarray:
        """Plan once, (H * F, a); see ``worldmodel.planners.serving.Planning``."""
        agent, (row,) = self.agent, self.agent.begin([0]).rows
        row = replace(
            row,
            plans=number,
            plan=self._filled(rest) if len(rest) else None,
            frames=tuple(pictures[:-1]),
            queue=sent,
            executed=len(sent),
        )
        if goal is None:
            agent.goal = self.own
        elif goal is not self.goal:
            agent.set_goal(goal)  # encoded once
        self.goal = goal
        agent.stats = Stats()  # a robot runs for long, and a controller counts itself
        _, state = agent.predict(pictures[-1], AgentState((row,)))
        found = state.rows[0].plan
        assert found is not None
        actions = agent.model.denormalise(found).cpu().numpy().reshape(-1, self.action_dim)
        return np.clip(actions, agent.actions.low, agent.actions.high)

    def _filled(self, rest: np.ndarray) -> torch.Tensor:
        """What is left of a plan, (H, A) normalised; mean actions fill it up."""
        model = self.agent.model
        plan = model.denormalise(torch.zeros(self.agent.config.horizon, len(model.low), device=model.device))
        actions = plan.view(-1, self.action_dim)
        actions[: len(rest)] = torch.from_numpy(rest[: len(actions)]).to(actions)
        return model.normalise(plan)
