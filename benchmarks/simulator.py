"""What planning reaches with predictions that are right: CEM on the true simulator instead of a model.

Not an agent's own search: how many candidates it scores, and how often, is its own, and it knows the task's distance to
the goal. How far it looks ahead can be an agent's. Only for tasks whose every state can be set. Shapes: N candidates, H
horizon (model steps), R model steps executed of a plan, F action block, a action size, A = F * a, S numbers in a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.evaluate import Outcome, evaluate
from worldmodel.benchmarks.intervals import mcnemar
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.policies import Memory
from worldmodel.benchmarks.report import proportion
from worldmodel.envs import registry
from worldmodel.errors import BadValue
from worldmodel.planners.cem import CEM
from worldmodel.planners.config import CEMConfig
from worldmodel.planners.state import new_row
from worldmodel.planners.stats import Stats


@dataclass
class Simulated(Stats):
    """What planning took, in environment steps that were simulated too."""

    env_steps: int = 0

    def add(self, other: Stats) -> None:
        """Count what another one did as well."""
        super().add(other)
        self.env_steps += getattr(other, "env_steps", 0)


@dataclass(frozen=True)
class Place:
    """Where one row is."""

    number: int  # of the pair
    state: np.ndarray  # (S,) the true one, followed since the start
    plans: int = 0  # that it has had
    queue: tuple[np.ndarray, ...] = ()  # actions (a,) float32 still to execute


class SimulatorPolicy:
    """CEM whose candidates are simulated from the true state.

    The search is ours (``planners/cem.py``), in units of half the range of each action, and its noise is seeded by the
    numbers of the pair and the plan as an agent's. A candidate costs the least distance to the goal (``task.distance``)
    of all states on its way, since a success counts whenever it happens, and it is simulated no further once it
    succeeds; of strict pairs, whose success counts at the end alone, it costs the ``task.shortfall`` of its last
    state. As nothing that was simulated can turn out otherwise, the cheapest candidate is executed instead of the last
    mean.

    Args:
        task: name of the environment.
        pairs: starts and goals, in whose worlds it plans.
        seed: of the search.
        horizon: H.
        action_block: F.
        execute_steps: R; all of the plan by default.
        candidates: N.
        iterations: of the search.
        options: further arguments of the task.

    Attributes:
        stats: what planning took.

    Raises:
        BadValue: a task whose states cannot be set, or more steps to execute than a plan has.
    """

    def __init__(
        self,
        task: str,
        pairs: Pairs,
        seed: int = 0,
        horizon: int = 5,
        action_block: int = 5,
        execute_steps: int | None = None,
        candidates: int = 64,
        iterations: int = 5,
        **options: Any,
    ) -> None:
        self.name, self.pairs, self.seed, self.options = task, pairs, seed, options
        self.horizon, self.action_block = horizon, action_block
        self.execute_steps = horizon if execute_steps is None else execute_steps
        if not 1 <= self.execute_steps <= horizon:
            raise BadValue(f"execute_steps: expected 1 to the horizon, {horizon}, got {execute_steps}")
        self.config = CEMConfig(candidates=candidates, iterations=iterations)
        self.stats = Simulated()
        self._task: Any = None
        self._row = -1  # the pair in whose world the simulator is
        if not self._simulator().restorable:
            raise BadValue(f"simulator: {task} cannot be put into a state, so nothing can be simulated from there")

    def __getstate__(self) -> dict[str, Any]:
        """Travel between processes without the simulator, of which each has its own."""
        return self.__dict__ | {"_task": None, "_row": -1}

    def begin(self, rows: Sequence[int]) -> Memory:
        """Stand at the starts."""
        return Memory(tuple(Place(row, self.pairs.starts[row]) for row in rows))

    def predict(self, observation: Mapping[str, Any], state: Memory) -> tuple[np.ndarray, Memory]:
        """Take the next action of each row; plan where there is none left. Observations are not looked at."""
        places, actions = [], []
        for place in state.rows:
            task = self._at(place.number)
            place = place if place.queue else self._planned(place, task)
            action, *queue = place.queue
            after = task.advance(place.state, task.clipped(action))
            places.append(replace(place, state=after, queue=tuple(queue)))
            actions.append(action)
        return np.stack(actions), Memory(tuple(places))

    def _planned(self, place: Place, task: Any) -> Place:
        """Search, and queue what was found."""
        low, high = (
            torch.from_numpy(np.tile(x, self.action_block)) for x in (task.action_space.low, task.action_space.high)
        )
        middle, half = (high + low) / 2, (high - low) / 2
        goal = self.pairs.goals[place.number]

        def cost(plans: Tensor) -> Tensor:
            moves = (middle + half * plans[0]).view(plans.shape[1], -1, len(task.action_space.low)).numpy()
            return torch.tensor([[self._gap(task, place.state, goal, candidate) for candidate in moves]])

        search = CEM(self.config, -torch.ones_like(half), torch.ones_like(half), self.action_block)
        noise = replace(new_row(place.number, half.device), plans=place.plans).noise(self.seed, half.device)
        plan = search.solve(cost, torch.zeros(1, self.horizon, len(half)), [noise])
        self.stats.count(plan.stats.milliseconds, 1)
        self.stats.solves.append(plan.stats)
        queue = (middle + half * plan.best[0]).view(-1, len(task.action_space.low)).numpy()
        return replace(place, plans=place.plans + 1, queue=tuple(queue[: self.execute_steps * self.action_block]))

    def _gap(self, task: Any, state: np.ndarray, goal: np.ndarray, actions: np.ndarray) -> float:
        """Cost of actions (T, a) from a state."""
        least = np.inf
        for action in actions:
            state = task.advance(state, task.clipped(action))
            self.stats.env_steps += 1
            if not self.pairs.strict:
                least = min(least, task.distance(state, goal))
                if task.success(state, goal):
                    break
        return float(task.shortfall(state, goal) if self.pairs.strict else least)

    def _at(self, row: int) -> Any:
        """The simulator, in the world of a pair."""
        task = self._simulator()
        world = self.pairs.worlds[row] if self.pairs.worlds else {}
        if world and row != self._row:
            task.vary(world["variation"], np.random.default_rng(0))
            self._row = row
        return task

    def _simulator(self) -> Any:
        if self._task is None:
            self._task = registry.make(self.name, observation="state", **self.options).unwrapped
        return self._task


def ceiling(
    task: str,
    pairs: Pairs,
    budget: int,
    seed: int,
    policy: Outcome,
    n: int = 50,
    progress: Callable[[int], object] | None = None,
    workers: int = 1,
    **options: Any,
) -> tuple[Outcome, dict[str, Any]]:
    """Plan on the true simulator for some of the pairs, spread evenly over them.

    Args:
        task: name of the environment.
        pairs: starts and goals.
        budget: environment steps allowed.
        seed: of the search.
        policy: what is read against it, on all pairs.
        n: of how many pairs at least, if there are as many.
        progress: as ``evaluate`` calls it, of ``len(values["pairs"]) * budget`` steps in all.
        workers: as for ``evaluate``.
        options: of ``SimulatorPolicy``: ``horizon``, ``action_block``, ``execute_steps``, ``candidates`` ...

    Returns:
        The outcome on those pairs, and values for JSON: which ``pairs``, which of them were ``solved``, their success
        with its interval, and the budget of the search in environment steps that were simulated; the
        policy's success on exactly these pairs, and McNemar's exact p-value that the two do equally well.
    """
    search = SimulatorPolicy(task, pairs, seed, **options)
    rows = some(len(pairs), n)
    outcome = evaluate(search, task, pairs, budget, progress=progress, only=rows, workers=workers, observation="state")
    return outcome, {
        **proportion(outcome.success),
        "hard": proportion(outcome.success[pairs.hard[rows]]),
        "pairs": list(rows),
        "solved": outcome.success.tolist(),
        **_beside(outcome.success, policy.success[rows]),
        "candidates": search.config.candidates,
        "iterations": search.config.iterations,
        "horizon": search.horizon,
        "horizon_env_steps": search.horizon * search.action_block,
        "execute_env_steps": search.execute_steps * search.action_block,
        "plans": search.stats.plans,
        "ms_per_plan": search.stats.ms_per_plan,
        "simulated_env_steps": search.stats.env_steps,
    }


def _beside(search: np.ndarray, policy: np.ndarray) -> dict[str, Any]:
    """The policy's success (n,) on the same pairs, and whether the two differ."""
    p = mcnemar(int((search & ~policy).sum()), int((policy & ~search).sum()))
    return {"policy": proportion(policy), "mcnemar_p_pairs_independent": p}


def some(total: int, n: int) -> range:
    """At least n of so many, spread evenly; all if there are no more."""
    return range(0, total, max(1, total // n))
