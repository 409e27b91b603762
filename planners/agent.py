"""Acting by planning: a receding-horizon agent with the ``predict`` of Stable-Baselines3.

Shapes: B rows (environments), H horizon (model steps), R model steps executed of a plan, F action block, a action
size, A = F * a, C context frames, S pixels, D latent size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.blocks import at_least_float32
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, Objective, Planner, PlannerStats
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.costs import Cost
from worldmodel.planners.sampling import shift_plan
from worldmodel.planners.scoring import as_objective, make_objective
from worldmodel.planners.state import AgentState, Row, new_row
from worldmodel.precision import native_bf16

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


KEPT = 10_000  # solves that statistics are kept of
TAIL_MS = 0.5  # what comes after the search: units, bounds, the way to the host


@dataclass
class Stats:
    """What planning took: the wall clock of every call that planned, encoding included, and how many rows it served."""

    milliseconds: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    solves: deque[PlannerStats] = field(default_factory=lambda: deque(maxlen=KEPT))  # one a call; more if rows differ

    @property
    def plans(self) -> int:
        """Plans made, counting every row of a solve."""
        return sum(self.rows)

    @property
    def ms_per_plan(self) -> float:
        """Mean milliseconds for one row's plan; NaN before the first."""
        return sum(self.milliseconds) / self.plans if self.rows else float("nan")


class Agent:
    """Plans H model steps towards the goal image, executes R of them open loop, and plans again.

    Args:
        model: encoder, predictors, action normalisation and bounds.
        planner: the search, in normalised action blocks.
        config: horizon, replanning and objective.
        low: lower bound (a,) of a primitive action in the environment's units; what is returned is clipped to it.
        high: upper bound (a,).
        objective: takes the place of the distance to the goal's latent; a function of (latents (B, N, H, D), actions
            (B, N, H * F, a) in the environment's units) will do.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: AgentConfig,
        low: np.ndarray,
        high: np.ndarray,
        objective: Objective | Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.model, self.planner, self.config = model.eval(), planner, config
        self.predictor = model.predictor(config.predictor_of(model.predictors))
        self.own_objective = None if objective is None else as_objective(objective, model)
        self.objective = self._objective(0)  # of the first plan
        self.execute_steps = config.steps_executed
        self.low, self.high = low, high
        self.bf16 = config.precision != "fp32" and (config.precision == "bf16" or _prefers_bf16(model.device))
        self.stats = Stats()
        if config.deadline_ms is not None:
            self._require_time(config.deadline_ms)

    def begin(self, rows: Sequence[int]) -> AgentState:
        """Return the state at the beginning of an episode, for rows seeded by these numbers.

        A row acts the same whichever rows accompany it, so many episodes can be spread over batches of any size.
        """
        return AgentState(tuple(new_row(index, 0, self.model.device) for index in rows))

    def predict(
        self,
        observation: Mapping[str, Any],
        state: AgentState | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, AgentState]:
        """Choose the next primitive action of every row.

        Rows that have executed their R * F actions plan again, all of them in one solve; the others just act.

        Args:
            observation: ``pixels`` and ``goal``, uint8 (S, S, 3) for one environment or (B, S, S, 3) for several.
            state: what the last call returned; None at the beginning. It is not changed.
            episode_start: which rows have just been reset, (B,) or one bool; those forget plan, history and noise.
            deterministic: accepted for Stable-Baselines3 and without effect: noise belongs to the search alone, and
                what it finds is executed as it is.

        Returns:
            The action, float32 (a,) or (B, a) within the environment's bounds, and the new state.

        Raises:
            BadValue: no goal, images of another size, or a state of another number of rows.
        """
        pixels, goal, single = self._images(observation)
        if state is None:
            rows = list(self.begin(range(len(pixels))).rows)
        else:
            rows = self._restart(state, episode_start, len(pixels))
        block, context = self.model.config.action_block, self.model.config.context
        waiting = [i for i, row in enumerate(rows) if row.waiting]
        for i, row in enumerate(rows):
            if not row.waiting:
                rows[i] = row.watched(pixels[i], block, context)
        if waiting:
            planned = self._plan([rows[i] for i in waiting], pixels[waiting], goal[waiting], self.config.deadline_ms)
            for i, row in zip(waiting, planned):
                rows[i] = row
        actions = np.stack([row.queue[row.executed] for row in rows])
        return actions[0] if single else actions, AgentState(tuple(row.acted() for row in rows))

    @torch.inference_mode(False)  # where nothing could be differentiated, nor a recording be filled again
    @torch.no_grad()
    def _plan(self, rows: list[Row], pixels: np.ndarray, goal: np.ndarray, ms: float | None = None) -> list[Row]:
        """Encode what is new and the goals in one call, then solve for all rows that see equally far at once.

        It takes ``ms`` milliseconds at most, or one iteration; without limit if None.
        """
        begun = time.perf_counter()
        until = None if ms is None else begun + (ms - TAIL_MS) / 1000
        model, device = self.model, self.model.device
        seen = [np.stack([*row.frames, frame]) for row, frame in zip(rows, pixels)]
        images = torch.from_numpy(np.concatenate([*seen, goal])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            z = at_least_float32(model.encode({"pixels": images[:, None]})[:, 0])
            *z_new, z_goal = torch.split(z, [*map(len, seen), len(rows)])
            rows = [row.remembered(new, self._executed(row), model.config.context) for row, new in zip(rows, z_new)]

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
        self.stats.milliseconds.append(1000 * (time.perf_counter() - begun))
        self.stats.rows.append(len(rows))
        return rows

    def _solve(self, rows: list[Row], z_goal: Tensor, objective: Objective, until: float | None) -> list[Row]:
        """Search for the rows' plans together, each with its own noise, and queue the steps to execute."""
        model, H, R = self.model, self.config.horizon, self.execute_steps
        fresh = torch.zeros(H, len(model.low), device=z_goal.device)
        start = torch.stack([self._left_over(row.plan, fresh) for row in rows])
        proposals = None
        if self.config.warm_start and rows[0].elites is not None:
            proposals = torch.stack([self._left_over(row.elites, fresh) for row in rows])
        generators = [row.noise(self.config.seed, z_goal.device) for row in rows]
        context = Context(torch.stack([row.z for row in rows]), torch.stack([row.actions for row in rows]))
        cost = Cost(self.predictor, objective, context, z_goal, self.config.chunk)
        plan = self.planner.solve(cost, start, generators, proposals, until)
        self.stats.solves.append(plan.stats)
        queue = model.denormalise(plan.actions[:, :R]).reshape(len(rows), R * model.config.action_block, -1)
        queue = np.clip(queue.cpu().numpy(), self.low, self.high).astype(np.float32)
        return [
            replace(
                row,
                plans=row.plans + 1,
                plan=plan.actions[i],
                elites=None if plan.elites is None else plan.elites[i],
                queue=queue[i],
                executed=0,
            )
            for i, row in enumerate(rows)
        ]

    def _left_over(self, plans: Tensor | None, fresh: Tensor) -> Tensor:
        """What the last solve found (..., H, A), without the steps executed since; mean actions at first."""
        return fresh if plans is None or not self.config.warm_start else shift_plan(plans.to(fresh), self.execute_steps)

    def _require_time(self, deadline_ms: float) -> None:
        """Plan a few times with one iteration each, and refuse a deadline that even the fastest does not meet.

        They go on from one another until the row remembers as much as it ever will, so that an accelerator has recorded
        what one row will need.
        """
        S = self.model.config.image_size
        image = np.zeros((1, S, S, 3), np.uint8)
        rows = list(self.begin([0]).rows)
        for _ in range(max(3, self.model.config.context + 1)):
            rows = self._plan(rows, image, image, ms=0.0)
            acted = len(rows[0].queue)
            rows = [replace(rows[0], executed=acted, steps=rows[0].steps + acted)]
        least, self.stats = min(self.stats.milliseconds), Stats()
        if least > deadline_ms:
            raise BadValue(
                f"deadline_ms: {deadline_ms:g} is too short: encoding and one iteration of "
                f"{self.planner.population(0)} candidates take {least:.1f} ms here; allow more, or lower candidates"
            )

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

    def _restart(self, state: AgentState, episode_start: Any, count: int) -> list[Row]:
        if len(state.rows) != count:
            raise BadValue(f"state: made for {len(state.rows)} environments, the observation has {count}")
        begins = np.zeros(count, bool) if episode_start is None else np.atleast_1d(np.asarray(episode_start, bool))
        if begins.shape != (count,):
            raise BadValue(f"episode_start: expected {count} booleans, got shape {begins.shape}")
        return [
            new_row(row.index, row.episode + (row.plan is not None), self.model.device) if begin else row
            for row, begin in zip(state.rows, begins)
        ]

    def _images(self, observation: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, bool]:
        """Check an observation and return pixels and goal as (B, S, S, 3), and whether it was a single one."""
        S = self.model.config.image_size
        images = []
        for name in ("pixels", "goal"):
            if not isinstance(observation, Mapping) or name not in observation:
                has = sorted(observation) if isinstance(observation, Mapping) else type(observation).__name__
                raise BadValue(f"observation: no {name!r} image, expected 'pixels' and 'goal', got {has}")
            image = np.asarray(observation[name])
            if image.ndim not in (3, 4) or image.shape[-3:] != (S, S, 3) or image.dtype != np.uint8:
                raise BadValue(
                    f"observation {name!r}: expected uint8 ({S}, {S}, 3) or (B, {S}, {S}, 3), the size the model was "
                    f"trained on, got {image.dtype} {image.shape}"
                )
            images.append(image)
        pixels, goal = images
        if pixels.shape != goal.shape:
            raise BadValue(f"observation: 'pixels' {pixels.shape} and 'goal' {goal.shape} differ in shape")
        single = pixels.ndim == 3
        return (pixels[None], goal[None], True) if single else (pixels, goal, False)


def _prefers_bf16(device: torch.device) -> bool:
    """Whether plans are searched in bfloat16 by default: on accelerators that multiply it natively."""
    return device.type != "cpu" and native_bf16("auto", device)
