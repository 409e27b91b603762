"""Acting by planning: a receding-horizon agent with the ``predict`` of Stable-Baselines3.

Shapes: B rows (environments), H horizon (model steps), R model steps executed of a plan, F action block, a action
size, A = F * a, C context frames, S pixels, D latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Objective, Planner
from worldmodel.planners import observations
from worldmodel.planners.actions import Actions
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.deadline import require_time
from worldmodel.planners.goals import MISSING, as_latents
from worldmodel.planners.proposals import Proposal
from worldmodel.planners.replanning import Replanner
from worldmodel.planners.settings import typed
from worldmodel.planners.state import AgentState, new_row, restarted

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class Agent(Replanner):
    """Plans H model steps towards the goal, executes R of them open loop, and plans again.

    Args:
        model: encoder, predictors, action normalisation and bounds.
        planner: the search, in normalised action blocks.
        config: controller (settled, not ``auto``), horizon, replanning and objective.
        actions: what the environment takes; what is returned lies within its bounds.
        objective: takes the place of the distance to the goal's latent, as ``Replanner`` takes it.
        env: what draws goals that are given as states.
        goal: of all episodes, as ``set_goal`` takes it.
        proposal: a policy whose plans are tried too.
        asked: names of the options that were asked for; all others are defaults.

    Attributes:
        goal: latents (D,) or (B, D) of the goal it was given; None where observations show it.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: AgentConfig,
        actions: Actions,
        objective: Objective | None = None,
        env: Any = None,
        goal: Any = None,
        proposal: Proposal | None = None,
        asked: Sequence[str] = (),
    ) -> None:
        super().__init__(model, planner, config, actions, objective, proposal)
        self.env, self.asked = env, tuple(asked)
        self.set_goal(goal)
        if config.deadline_ms is not None:
            require_time(self, config.deadline_ms)

    def begin(self, rows: Sequence[int], steps: int = 0) -> AgentState:
        """Return the state at the beginning of an episode, for rows seeded by these numbers.

        A row acts the same whichever rows accompany it, so many episodes can be spread over batches of any size.

        Args:
            rows: numbers of the episodes.
            steps: environment steps that were acted towards the goal before.
        """
        return AgentState(tuple(replace(new_row(number, self.model.device), steps=steps) for number in rows))

    def predict(
        self,
        observation: Any,
        state: AgentState | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, AgentState]:
        """Choose the next primitive action of every row.

        Rows that have executed their R * F actions plan again, all of them in one solve; the others just act.

        Args:
            observation: a picture uint8 (S, S, 3), or (B, S, S, 3) of several environments; colours may come first. Or
                a mapping with it as ``pixels`` or ``observation`` and, unless the agent has a goal or needs none, with
                the goal's as ``goal`` or ``desired_goal``.
            state: what the last call returned; None at the beginning. It is not changed.
            episode_start: which rows have just been reset, (B,) or one bool for all; those forget plan, history and
                noise.
            deterministic: accepted for Stable-Baselines3 and without effect: noise belongs to the search alone, and
                what it finds is executed as it is.

        Returns:
            The action, float32 (a,) or (B, a) within the environment's bounds (in the environment's shape, or its
            number where actions are numbered), and the new state.

        Raises:
            BadValue: no goal, no images, images of another size, or a state of another number of rows.
        """
        seen = observations.read(observation, self.model.config.image_size, goal=self.wants_goal)
        pixels, goal = seen.pixels, seen.goal
        if self.wants_goal and goal is None:
            raise BadValue(MISSING)
        goals = self.fixed_goals(len(pixels)) if goal is None else goal
        if state is None:
            rows = list(self.begin(range(len(pixels))).rows)
        else:
            rows = restarted(state, episode_start, len(pixels), self.model.device)
        block, context = self.model.config.action_block, self.model.config.context
        waiting = [i for i, row in enumerate(rows) if row.waiting]
        for i, row in enumerate(rows):
            if not row.waiting:
                rows[i] = row.watched(pixels[i], block, context)
        if waiting and goal is not None and not goal[waiting].any(axis=(1, 2, 3)).all():
            raise BadValue(f"{MISSING} (the picture of this one is black)")
        if waiting:
            planned = self.replan([rows[i] for i in waiting], pixels[waiting], goals[waiting], self.config.deadline_ms)
            for i, row in zip(waiting, planned):
                rows[i] = row
        actions = self.actions.native(np.stack([row.queue[row.executed] for row in rows]))
        return actions[0] if seen.single else actions, AgentState(tuple(row.acted() for row in rows))

    def looks(self, state: AgentState) -> list[bool]:
        """Say which rows will look at the picture they are shown next: at whole model steps. The rest need none."""
        block, remembers = self.model.config.action_block, self.model.config.context > 1
        return [row.waiting or (remembers and row.executed % block == 0) for row in state.rows]

    def set_goal(self, goal: Any) -> None:
        """Plan towards this goal from every row's next plan on, instead of those in observations; None for those again.

        Args:
            goal: for all rows, or one a row: images uint8 (S, S, 3) or (B, S, S, 3); ``{"latent": z}`` (D,) or (B, D);
                ``{"state": s}`` (n,) or (B, n), drawn by the environment that the agent was made for; or
                ``{"frame": (store, row)}`` or ``(store, episode, step)`` of an opened dataset.

        Raises:
            UnknownName: another kind of goal.
            BadValue: a goal of another shape, that cannot be drawn, or that the objective would not look at.
        """
        if goal is not None and not self.reads_goal:
            raise BadValue("goal: it has no effect, the objective does not look at one")
        config = self.model.config
        self.goal: Tensor | None = None
        if goal is not None:
            z = as_latents(goal, self.encode, config.image_size, config.latent_dim, self.env)
            self.goal = z.to(self.model.device)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Draw the noise of further plans by another seed; None changes nothing."""
        if seed is not None:
            self.config = replace(self.config, seed=typed("seed", "int", seed))

    def save(self, path: str | Path) -> None:
        """Write the agent, model and goal included, into a folder; whole or not at all.

        Raises:
            BadValue: the objective or the proposal is the user's own, which no file can hold.
            BadFile: something else than an agent stands there, which would be replaced.
        """
        from worldmodel.planners.saving import save_agent

        save_agent(path, self)

    @classmethod
    def load(
        cls, path: str | Path, env: Any = None, device: str | torch.device = "cpu", goal: Any = None, **options: Any
    ) -> Agent:
        """Load an agent that acts as the saved one did; nothing in the folder is ever executed.

        Args:
            path: its folder.
            env: what to act in, checked as by ``model.agent``; None for the same actions as before.
            device: where to put the model.
            goal: takes the place of the saved one.
            options: take the place of those that were saved, such as ``deadline_ms=None`` on a slower machine. With
                another planner, controller or objective the others are those that were asked for when the saved agent
                was made, and the defaults.

        Raises:
            BadFile: the folder is missing, damaged or holds no agent.
            BadValue: an environment of other actions, or a ``deadline_ms`` that this machine is too slow for.
        """
        from worldmodel.planners.saving import load_agent

        return load_agent(path, env, device, goal, **options)

    @property
    def wants_goal(self) -> bool:
        """Whether observations must show a goal."""
        return self.reads_goal and self.goal is None

    def fixed_goals(self, count: int | None = None) -> Tensor:
        """Latents (count, D) of the goal that was given; zeros for an objective that does not look at them.

        Raises:
            BadValue: one goal a row was given, for another number of rows.
        """
        goal = torch.zeros(self.model.config.latent_dim, device=self.model.device) if self.goal is None else self.goal
        if goal.ndim == 1:
            return goal.expand(count or 1, -1)
        if count not in (None, len(goal)):
            raise BadValue(f"goal: given for {len(goal)} environments, the observation has {count}")
        return goal
