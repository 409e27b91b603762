"""Acting by planning: a receding-horizon agent with the ``predict`` of Stable-Baselines3.

Shapes: B rows (environments), H horizon (model steps), R model steps executed of a plan, F action block, a action
size, A = F * a, C context frames, S pixels, D latent size.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue, UnknownName
from worldmodel.interfaces import Context, Objective, Planner
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.objectives import GoalDistance, default_objective, make_cost
from worldmodel.planners.registry import planner_class
from worldmodel.planners.sampling import shift_plan
from worldmodel.planners.state import AgentState, Row, new_row

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass
class Stats:
    """Time spent planning: wall clock of every solve, encoding included, and how many rows it planned for."""

    milliseconds: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

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
        objective: what makes a plan good; by default the distance to the goal's latent.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: AgentConfig,
        low: np.ndarray,
        high: np.ndarray,
        objective: Objective | None = None,
    ) -> None:
        self.model, self.planner, self.config = model.eval(), planner, config
        name = config.predictor
        if name == "auto":
            name = "prefix" if "prefix" in model.predictors else model.predictors[0]
        self.predictor = model.predictor(name)
        self.fixed_objective = objective or (GoalDistance(config.arrivals) if config.arrivals else None)
        self.objective = self._objective(0)  # of the first plan
        self.execute_steps = min(config.execute_steps, config.horizon)
        self.low, self.high = low, high
        self.stats = Stats()

    def begin(self, rows: Sequence[int]) -> AgentState:
        """Return the state at the beginning of an episode, for rows seeded by these numbers.

        A row acts the same whichever rows accompany it, so many episodes can be spread over batches of any size.
        """
        return AgentState(tuple(new_row(index, 0, self.config.seed, self.model.device) for index in rows))

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
            planned = self._plan([rows[i] for i in waiting], pixels[waiting], goal[waiting])
            for i, row in zip(waiting, planned):
                rows[i] = row
        actions = np.stack([row.queue[row.executed] for row in rows])
        return actions[0] if single else actions, AgentState(tuple(row.acted() for row in rows))

    @torch.no_grad()
    def _plan(self, rows: list[Row], pixels: np.ndarray, goal: np.ndarray) -> list[Row]:
        """Encode what is new and the goals in one call, then solve for all rows that see equally far at once."""
        begun = time.perf_counter()
        model, device = self.model, self.model.device
        seen = [np.stack([*row.frames, frame]) for row, frame in zip(rows, pixels)]
        images = torch.from_numpy(np.concatenate([*seen, goal])).to(device)
        z = model.encode({"pixels": images[:, None]})[:, 0]
        *z_new, z_goal = torch.split(z, [*map(len, seen), len(rows)])
        rows = [row.remembered(new, self._executed(row), model.config.context) for row, new in zip(rows, z_new)]

        # Rows with as many frames behind them and the same objective make one batch: usually that is all of them.
        groups: dict[tuple[int, Objective], list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault((len(row.z), self._objective(row.steps)), []).append(i)
        for (_, objective), group in groups.items():
            for i, row in zip(group, self._solve([rows[i] for i in group], z_goal[group], objective)):
                rows[i] = row
        self.stats.milliseconds.append(1000 * (time.perf_counter() - begun))
        self.stats.rows.append(len(rows))
        return rows

    def _solve(self, rows: list[Row], z_goal: Tensor, objective: Objective) -> list[Row]:
        """Search for the rows' plans together, each with its own noise, and queue the steps to execute."""
        model, H, R = self.model, self.config.horizon, self.execute_steps
        fresh = torch.zeros(H, len(model.low), device=z_goal.device)
        warm = self.config.warm_start
        start = [shift_plan(row.plan.to(fresh), R) if warm and row.plan is not None else fresh for row in rows]
        generators = [torch.Generator(z_goal.device) for _ in rows]
        for generator, row in zip(generators, rows):
            generator.set_state(row.noise)
        context = Context(torch.stack([row.z for row in rows]), torch.stack([row.actions for row in rows]))
        cost = make_cost(self.predictor, objective, context, z_goal)
        plan = self.planner.solve(cost, torch.stack(start), generators).actions
        queue = model.denormalise(plan[:, :R]).reshape(len(rows), R * model.config.action_block, -1)
        queue = np.clip(queue.cpu().numpy(), self.low, self.high).astype(np.float32)
        return [
            replace(row, plan=plan[i], queue=queue[i], executed=0, noise=generators[i].get_state())
            for i, row in enumerate(rows)
        ]

    def _objective(self, steps: int) -> Objective:
        """What makes a plan good after so many steps of the episode: the way to the goal has become shorter by them."""
        if self.fixed_objective is not None:
            return self.fixed_objective
        way = self.config.goal_offset
        left = None if way is None else max(way - steps, 0)
        return default_objective(self.config.horizon, self.model.config.action_block, left)

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
        seed, device = self.config.seed, self.model.device
        return [
            new_row(row.index, row.episode + (row.plan is not None), seed, device) if begin else row
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


def make_agent(model: WorldModel, env: Any = None, objective: Objective | None = None, **options: Any) -> Agent:
    """Build an agent from plain options.

    Args:
        model: the world model.
        env: optional environment (or vector environment) to act in. Plans are searched within its action bounds where
            they are narrower than those the model was trained with.
        objective: replaces the default one.
        options: fields of ``AgentConfig`` and of the planner's own config, such as ``horizon=32, candidates=128``.

    Raises:
        UnknownName: an option, planner or predictor that does not exist.
        BadValue: an environment of other actions than the model's.
    """
    names = {f.name for f in fields(AgentConfig)}
    config = AgentConfig(**{name: value for name, value in options.items() if name in names})
    planner = planner_class(config.planner)
    own = {f.name for f in fields(planner.Config)}
    for name in options:
        if name not in names | own:
            raise UnknownName("planning option", name, names | own)
    search = planner.Config(**{name: value for name, value in options.items() if name in own})
    low, high = _action_bounds(model, env)
    F = model.config.action_block
    lowest, highest = (model.normalise(torch.tensor(np.tile(x, F)).to(model.action_low)) for x in (low, high))
    solver = planner(search, lowest, highest, F)
    return Agent(model, solver, config, low, high, objective)


def _action_bounds(model: WorldModel, env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (a,) of a primitive action: the model's, drawn in to the environment's when one is given."""
    a = model.config.action_dim
    low, high = model.action_low.cpu().numpy(), model.action_high.cpu().numpy()
    if env is None:
        return low, high
    space = getattr(env, "single_action_space", env.action_space)
    if getattr(space, "shape", None) != (a,) or not hasattr(space, "low"):
        raise BadValue(f"env: expected a Box action space of shape ({a},) as the model was trained on, got {space}")
    low, high = np.maximum(low, space.low), np.minimum(high, space.high)
    if (low > high).any():
        raise BadValue(f"env: no action of {space} lies within the bounds the model was trained with")
    return low, high
