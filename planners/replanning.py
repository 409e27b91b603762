"""Planning again: from what rows remember and see to the actions they execute next.

Shapes: B rows (environments), H horizon (model steps), R model steps executed of a plan, F action block, a action
size, A = F * a, C context frames, S pixels, D latent size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldmodel.blocks import at_least_float32
from worldmodel.interfaces import Context, Objective, Planner
from worldmodel.planners.actions import Actions
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.costs import Cost
from worldmodel.planners.proposals import Proposal
from worldmodel.planners.sampling import shift_plan
from worldmodel.planners.scoring import as_objective, make_objective
from worldmodel.planners.state import Row
from worldmodel.planners.stats import Stats
from worldmodel.precision import native_bf16

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

TAIL_MS = 0.5  # what comes after the search: units, bounds, the way to the host


class Replanner:
    """Plans H model steps for rows that have nothing left to execute, and queues the first R of them.

    Args:
        model: encoder, predictors, action normalisation and bounds.
        planner: the search, in normalised action blocks.
        config: horizon, replanning and objective.
        actions: what the environment takes; what is queued lies within its bounds.
        objective: takes the place of the distance to the goal's latent; a function of (latents (B, N, H, D), actions
            (B, N, H * F, a) in the environment's units) will do.
        proposal: a policy whose plans are tried too.

    Attributes:
        stats: what planning took.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: AgentConfig,
        actions: Actions,
        objective: Objective | Callable[[Tensor, Tensor], Tensor] | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        self.model, self.planner, self.config, self.actions = model.eval(), planner, config, actions
        self.proposal = proposal
        self.predictor = model.predictor(config.predictor_of(model.predictors))
        self.own_objective = None if objective is None else as_objective(objective, model)
        self.objective = self._objective(0)  # of the first plan
        self.execute_steps = config.steps_executed
        self.bf16 = config.precision != "fp32" and (config.precision == "bf16" or _prefers_bf16(model.device))
        self.bounds = actions.bounds(model)
        self.stats = Stats()

    @torch.inference_mode(False)
    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> Tensor:
        """Images (B, S, S, 3) -> latents (B, D)."""
        frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.model.device)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.bf16):
            return at_least_float32(self.model.encode({"pixels": frames[:, None]})[:, 0])

    @torch.inference_mode(False)  # where nothing could be differentiated, nor a recording be filled again
    @torch.no_grad()
    def replan(
        self, rows: list[Row], pixels: np.ndarray, goals: np.ndarray | Tensor, ms: float | None = None
    ) -> list[Row]:
        """Encode what is new in one call, then solve for all rows that see equally far at once.

        Args:
            rows: those that have nothing left to execute.
            pixels: what they see, (B, S, S, 3).
            goals: images of theirs, encoded in the same call, or latents (B, D).
            ms: milliseconds it takes at most, or one iteration; without limit if None.
        """
        begun = time.perf_counter()
        until = None if ms is None else begun + (ms - TAIL_MS) / 1000
        seen = [np.stack([*row.frames, frame]) for row, frame in zip(rows, pixels)]
        shown = [] if isinstance(goals, Tensor) else [goals]
        z = self.encode(np.concatenate([*seen, *shown]))
        z_new = torch.split(z, [*map(len, seen), *map(len, shown)])
        z_goal = goals if isinstance(goals, Tensor) else z_new[-1]
        with torch.autocast(z_goal.device.type, torch.bfloat16, enabled=self.bf16):
            C = self.model.config.context
            rows = [row.remembered(new, self._executed(row), C) for row, new in zip(rows, z_new)]

            # Rows that remember as much and have the same objective make one batch: usually that is all of them.
            groups: dict[tuple[int, bool, Objective], list[int]] = {}
            for i, row in enumerate(rows):
                tries = self.config.warm_start and row.elites is not None
                groups.setdefault((len(row.z), tries, self._objective(row.steps)), []).append(i)
            for left, ((_, _, objective), group) in zip(range(len(groups), 0, -1), groups.items()):
                now = time.perf_counter()
                share = None if until is None else now + (until - now) / left
                for i, row in zip(group, self._solve([rows[i] for i in group], z_goal[group], objective, share)):
                    rows[i] = row
        self.stats.count(1000 * (time.perf_counter() - begun), len(rows))
        return rows

    def _solve(self, rows: list[Row], z_goal: Tensor, objective: Objective, until: float | None) -> list[Row]:
        """Search for the rows' plans together, each with its own noise, and queue the steps to execute."""
        model, H, R = self.model, self.config.horizon, self.execute_steps
        fresh = torch.zeros(H, len(model.low), device=z_goal.device)
        start = torch.stack([self._left_over(row.plan, row.passed, fresh) for row in rows])
        tried = []
        if self.config.warm_start and rows[0].elites is not None:
            tried.append(torch.stack([self._left_over(row.elites, row.passed, fresh) for row in rows]))
        generators = [row.noise(self.config.seed, z_goal.device) for row in rows]
        context = Context(torch.stack([row.z for row in rows]), torch.stack([row.actions for row in rows]))
        if self.proposal is not None:
            goal = z_goal if getattr(objective, "reads_goal", True) else None
            tried.append(self.proposal.plans(model, self.predictor, context, goal, H, self.bounds, generators))
            start = tried[-1][:, 0] if self.proposal.start else start
        cost = Cost(self.predictor, objective, context, z_goal, self.config.chunk)
        proposals = torch.cat(tried, dim=1) if tried else None
        plan = self.planner.solve(cost, start, generators, proposals, until)
        self.stats.solves.append(plan.stats)
        queue = model.denormalise(plan.actions[:, :R]).reshape(len(rows), R * model.config.action_block, -1)
        queue = np.clip(queue.cpu().numpy(), self.actions.low, self.actions.high).astype(np.float32)
        return [
            replace(
                row,
                plans=row.plans + 1,
                plan=plan.actions[i],
                passed=R,
                elites=None if plan.elites is None else plan.elites[i],
                queue=queue[i],
                executed=0,
            )
            for i, row in enumerate(rows)
        ]

    def _left_over(self, plans: Tensor | None, passed: int, fresh: Tensor) -> Tensor:
        """What the last solve found (..., H, A), without the steps that are over; mean actions at first."""
        return fresh if plans is None or not self.config.warm_start else shift_plan(plans.to(fresh), passed)

    def _objective(self, steps: int) -> Objective:
        """What makes a plan good after so many steps of the episode: the way to the goal has become shorter by them."""
        way = self.config.goal_offset
        left = None if way is None else max(way - steps, 0)
        return make_objective(self.config, self.model, left, self.own_objective)

    def _executed(self, row: Row) -> Tensor:
        """Normalise the blocks (R, A) that were executed since the row's last plan; none before the first."""
        width = len(self.model.low)
        blocks = torch.from_numpy(row.queue).to(self.model.device).reshape(-1, width)
        return self.model.normalise(blocks)


def _prefers_bf16(device: torch.device) -> bool:
    """Whether plans are searched in bfloat16 by default: on accelerators that multiply it natively."""
    return device.type != "cpu" and native_bf16("auto", device)
