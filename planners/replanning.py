"""Planning again: from what rows remember and see to the actions they execute next.

Shapes: B rows (environments), H horizon (model steps), R model steps executed of a plan, F action block, a action
size, A = F * a, C context frames, S pixels, D latent size.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, Objective, Planner
from worldmodel.planners.actions import Actions
from worldmodel.planners.arrivals import way_left
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import reads_goal
from worldmodel.planners.proposals import Proposal
from worldmodel.planners.reflex import reflex_of, steps_left
from worldmodel.planners.sampling import shift_plan
from worldmodel.planners.scoring import make_objective
from worldmodel.planners.search import Clock
from worldmodel.planners.state import Row
from worldmodel.planners.stats import Stats
from worldmodel.precision import native_bf16

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

PATIENCE = 0.9  # how much of a search's time is still believed after each plan for which there was none
TAIL_MS = 0.5  # what comes after the search: units, bounds, the way to the host


class Replanner:
    """Plans H model steps for rows that have nothing left to execute, and queues the first R of them.

    Args:
        model: encoder, predictors, action normalisation and bounds.
        planner: the search, in normalised action blocks.
        config: controller (not ``auto``), horizon, replanning and objective.
        actions: what the environment takes; what is queued lies within its bounds.
        objective: takes the place of the distance to the goal's latent.
        proposal: a policy whose plans are tried too, instead of the reflex's.

    Attributes:
        controller: who acts, ``search``, ``reflex`` or ``both``.
        stats: what planning took.

    Raises:
        BadValue: the controller ``auto``, which `make_agent` settles.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: AgentConfig,
        actions: Actions,
        objective: Objective | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        if config.controller == "auto":
            raise BadValue("controller: expected search, reflex or both, got auto, which model.agent() settles")
        self.model, self.planner, self.config, self.actions = model.eval(), planner, config, actions
        self.proposal = self.guide = proposal
        self.predictor = model.predictor(config.predictor_of(model.predictors))
        self.own_objective, self.controller = objective, config.controller
        self.objective = self._objective(0)  # of the first plan
        if self.controller != "search" and proposal is None:
            self.guide = reflex_of(model, planner.config, alone=self.controller == "reflex")
        self.execute_steps = config.steps_executed
        self.bf16 = config.precision != "fp32" and (config.precision == "bf16" or _prefers_bf16(model.device))
        self.bounds = actions.bounds(model)
        self.stats = Stats()
        self._least = 0.0  # seconds that the quickest search took until its first iteration, a row; 0 before one
        self._hope = 1.0  # share of them that the next one may take; after every one for which there was no time, less

    @property
    def reads_goal(self) -> bool:
        """Whether the objective looks at a goal."""
        return reads_goal(self.objective)

    @torch.inference_mode(False)
    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> Tensor:
        """Images (B, S, S, 3) -> latents (B, D), in float32, the precision of the encoder's batch statistics."""
        frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.model.device)
        with torch.autocast(frames.device.type, enabled=False):
            return self.model.encode({"pixels": frames[:, None]})[:, 0]

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

            # Rows that are planned for alike make one batch: usually that is all of them.
            groups: dict[tuple[int, bool, bool, Objective], list[int]] = {}
            for i, row in enumerate(rows):
                tries = self.config.warm_start and row.elites is not None
                alone = self.controller == "reflex" or row.steps % (self.config.goal_offset or 1) < self.reflexive_steps
                groups.setdefault((len(row.z), tries, alone, self._objective(row.steps)), []).append(i)
            for left, ((_, _, alone, objective), group) in zip(range(len(groups), 0, -1), groups.items()):
                now = time.perf_counter()
                share = None if until is None else now + (until - now) / left
                solved = self._solve([rows[i] for i in group], z_goal[group], objective, share, alone)
                for i, row in zip(group, solved):
                    rows[i] = row
        self.stats.count(1000 * (time.perf_counter() - begun), len(rows))
        return rows

    @property
    def reflexive_steps(self) -> int:
        """Environment steps at the beginning of a way, while the goal lies beyond the horizon, that reflexes take.

        The distance that is left at the horizon is then no reason to leave the reflex's way: who must go round
        something, or fetch it, first goes away from the goal.
        """
        reach = self.config.horizon * self.model.config.action_block
        beyond = self.controller == "both" and self.proposal is None and self.config.goal_offset is not None
        return max(0, (self.config.goal_offset or 0) - reach) if beyond else 0

    def _solve(
        self, rows: list[Row], z_goal: Tensor, objective: Objective, until: float | None, alone: bool
    ) -> list[Row]:
        """Search for the rows' plans together, each with its own noise, and queue the steps to execute.

        The reflex's plan is executed as it is where it acts alone, and where no time is left for an iteration.
        """
        clock, H = Clock(z_goal.device, until), self.config.horizon
        generators = [row.noise(self.config.seed, z_goal.device) for row in rows]
        context = Context(torch.stack([row.z for row in rows]), torch.stack([row.actions for row in rows]))
        in_time = alone or self.controller != "both" or clock.has(self._hope * self._least * len(rows))
        if not in_time:
            alone, self._hope = True, self._hope * PATIENCE
        own = self._guided(rows, context, z_goal, objective, generators, alone)
        if alone:
            assert own is not None
            self.stats.solves.append(clock.stats(own.new_empty(0, len(rows))))
            self.stats.reflexes += len(rows)
            return self._queued(rows, own[:, 0], None)
        fresh = torch.zeros(H, len(self.model.low), device=z_goal.device)
        start = torch.stack([self._left_over(row.plan, row.passed, fresh) for row in rows])
        tried, most = [], self.planner.config.candidates - 1  # one is the search's own
        if self.config.warm_start and rows[0].elites is not None:
            tried.append(torch.stack([self._left_over(row.elites, row.passed, fresh) for row in rows]))
        if own is not None and self.guide is not None:
            tried.append(own)
            rest, start = start, own[:, 0] if self.guide.start else start
            if self.guide.start and self.config.warm_start and sum(x.shape[1] for x in tried) < most:
                tried.append(rest[:, None])
        cost = Cost(self.predictor, objective, context, z_goal, self.config.chunk)
        proposals = torch.cat(tried, dim=1) if tried else None
        before = clock.passed()
        plan = self.planner.solve(cost, start, generators, proposals, until)
        self.stats.solves.append(plan.stats)
        taken = (before + plan.stats.milliseconds / plan.stats.iterations / 1000) / len(rows)
        self._least, self._hope = min(self._least or taken, taken), 1.0
        return self._queued(rows, plan.actions, plan.elites)

    def _guided(
        self,
        rows: list[Row],
        context: Context,
        z_goal: Tensor,
        objective: Objective,
        generators: list[torch.Generator],
        alone: bool,
    ) -> Tensor | None:
        """What the reflex or the user's policy would do (B, M, steps, A), its own plan first; None without either.

        Where it acts alone, that one is all.
        """
        if self.guide is None:
            return None
        guide = replace(self.guide, count=1) if alone else self.guide
        goal = z_goal if reads_goal(objective) else None
        block = self.model.config.action_block
        left = steps_left([row.steps for row in rows], self.config.goal_offset, block, z_goal)
        steps = self.execute_steps if self.controller == "reflex" else self.config.horizon
        return guide.plans(self.model, self.predictor, context, goal, steps, self.bounds, generators, left)

    def _queued(self, rows: list[Row], plans: Tensor, elites: Tensor | None) -> list[Row]:
        """Rows that execute the first R steps of plans (B, ..., A) from now on."""
        R, model = self.execute_steps, self.model
        queue = model.denormalise(plans[:, :R]).reshape(len(rows), R * model.config.action_block, -1)
        queue = np.clip(queue.cpu().numpy(), self.actions.low, self.actions.high).astype(np.float32)
        return [
            replace(
                row,
                plans=row.plans + 1,
                plan=plans[i],
                passed=R,
                elites=None if elites is None else elites[i],
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
        left = None if way is None else way_left(way, steps)
        return make_objective(self.config, self.model, left, self.own_objective)

    def _executed(self, row: Row) -> Tensor:
        """Normalise the blocks (R, A) that were executed since the row's last plan; none before the first."""
        width = len(self.model.low)
        blocks = torch.from_numpy(row.queue).to(self.model.device).reshape(-1, width)
        return self.model.normalise(blocks)


def _prefers_bf16(device: torch.device) -> bool:
    """Whether plans are searched in bfloat16 by default: on accelerators that multiply it natively."""
    return device.type != "cpu" and native_bf16("auto", device)
