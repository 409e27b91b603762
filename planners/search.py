"""The loop that all planners share: iterate until the work is done, the plan has settled, or time is up.

Shapes: B environments, n candidates, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import CostFn, Plan, PlannerStats
from worldmodel.planners.config import SAFETY, SearchConfig
from worldmodel.planners.problem import Problem, require_finite
from worldmodel.planners.sampling import white_noise

State = TypeVar("State", bound=tuple[Any, ...])  # a NamedTuple of tensors, each (B, ...)


class Search(ABC, Generic[State]):
    """A planner: three functions of tensors that an algorithm fills in, and the loop over them.

    An iteration may not depend on numbers that the host would have to wait for, nor on how many environments there are:
    then a solve can be captured as a CUDA graph, and planning together equals planning alone.

    Args:
        config: sizes of the search.
        low: lower bound of a normalised action block, (A,); ``-inf`` for none.
        high: upper bound, (A,); ``inf`` for none.
        action_block: F, primitive actions in a block.
    """

    Config: ClassVar[type[SearchConfig]]

    def __init__(self, config: Any, low: Tensor, high: Tensor, action_block: int = 1) -> None:
        if low.shape != high.shape or low.ndim != 1 or not bool((low <= high).all()):
            raise BadValue(f"action bounds: expected low <= high, both (A,), got {low.tolist()} and {high.tolist()}")
        if len(low) % action_block:
            raise BadValue(f"action_block: {len(low)} numbers in a block cannot be split into {action_block} actions")
        self.config, self.low, self.high, self.action_block = config, low, high, action_block

    @abstractmethod
    def begin(self, problem: Problem) -> State:
        """What is known before the first iteration, from ``problem.start``."""

    @abstractmethod
    def iterate(self, state: State, problem: Problem, iteration: int) -> State:
        """Try candidates and learn from their costs."""

    @abstractmethod
    def result(self, state: State, problem: Problem) -> tuple[Tensor, Tensor]:
        """The plan to execute and the standard deviation left, each (B, H, A)."""

    def elites(self, state: State) -> Tensor | None:
        """Plans (B, M, H, A) that the next solve may start from."""
        return None

    def settled(self, state: State) -> Tensor | None:
        """Environments (B,) whose search need not go on; None where the planner never says so."""
        return None

    def population(self, iteration: int) -> int:
        """Candidates scored in an iteration."""
        count: int = self.config.population(iteration)
        return count

    def solve(
        self,
        cost_fn: CostFn,
        start: Tensor,
        generators: Sequence[torch.Generator],
        proposals: Tensor | None = None,
        until: float | None = None,
    ) -> Plan:
        """Minimise ``cost_fn`` for B environments.

        Planning them together gives bit for bit what planning each alone gives, provided ``cost_fn`` computes every
        candidate's cost independently of how many it is given.

        Args:
            cost_fn: plans (B, n, H, A) -> cost (B, n), of each candidate by itself; NaN counts as infinitely bad.
            start: first guess, (B, H, A), normalised action units.
            generators: B generators on the device of ``start``.
            proposals: plans (B, M, H, A), M < N, that replace the last candidates of the first iteration.
            until: time of ``time.perf_counter`` by which to be ready: another iteration is begun only if it should end
                before; the first one always is. A search cut short gives the cheapest plan it saw, since what it would
                have converged to is not known yet.

        Raises:
            BadValue: shapes that do not fit.
            WorldModelError: an environment none of whose candidates has a finite cost.
        """
        self.check(start, generators, proposals)
        clock = Clock(start.device, until)
        _, H, A = start.shape
        noise = lambda n: white_noise(generators, (n, H, A), like=start)  # noqa: E731
        problem = Problem(cost_fn, start, self.low, self.high, noise, proposals)
        state, curve, in_time = self.begin(problem), [], True
        for iteration in range(self.config.iterations):
            state = self.advanced(state, problem, iteration)
            curve.append(problem.best_cost)
            if problem.open is not None and not bool(problem.open.any()):
                break
            if iteration + 1 < self.config.iterations:
                in_time = clock.allows(self.population(iteration), self.population(iteration + 1))
            if not in_time:
                break
        require_finite(problem.best_cost)
        actions, std = self.result(state, problem)
        return Plan(
            actions=problem.clamp(actions) if in_time else problem.best,
            cost=problem.best_cost,
            best=problem.best,
            std=std,
            elites=self.elites(state),
            stats=clock.stats(torch.stack(curve)),
        )

    def advanced(self, state: State, problem: Problem, iteration: int) -> State:
        """One iteration, of which the environments that have settled see nothing."""
        new = self.iterate(state, problem, iteration)
        if problem.open is not None:
            rows = [problem.open.view(-1, *[1] * (x.ndim - 1)) for x in new]
            new = type(state)(*(torch.where(row, x, old) for row, x, old in zip(rows, new, state)))
        settled = self.settled(new)
        if settled is not None:
            problem.open = ~settled
        return new

    def check(self, start: Tensor, generators: Sequence[torch.Generator], proposals: Tensor | None) -> None:
        """Raise ``BadValue`` for arguments of ``solve`` that do not fit."""
        if start.ndim != 3 or start.shape[2] != len(self.low):
            raise BadValue(f"start: expected (B, H, {len(self.low)}), got {tuple(start.shape)}")
        B, H, A = start.shape
        if H < 1:
            raise BadValue("horizon: expected 1 or more, got 0")
        if len(generators) != B:
            raise BadValue(f"generators: expected one for each of {B} environments, got {len(generators)}")
        if proposals is not None and (
            proposals.shape != (B, proposals.shape[1], H, A) or proposals.shape[1] >= self.population(0)
        ):
            raise BadValue(
                f"proposals: expected ({B}, M, {H}, {A}) with M < candidates: {self.population(0)}, "
                f"got {tuple(proposals.shape)}"
            )


class Clock:
    """Wall clock of a solve: whether there is time for more, and what it took."""

    def __init__(self, device: torch.device, until: float | None) -> None:
        self.device, self.until = device, until
        self.begun = self.last = time.perf_counter()
        self.slowest = 0.0  # seconds a candidate

    def allows(self, done: int, planned: int) -> bool:
        """Whether an iteration of ``planned`` candidates should end in time, after one of ``done``."""
        if self.until is None:
            return True
        self._wait()
        now = time.perf_counter()
        self.slowest = max(self.slowest, (now - self.last) / done)
        self.last = now
        return now + SAFETY * self.slowest * planned <= self.until

    def has(self, seconds: float) -> bool:
        """Whether something that takes so many seconds should end in time."""
        if self.until is None:
            return True
        self._wait()
        return time.perf_counter() + SAFETY * seconds <= self.until

    def passed(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.begun

    def stats(self, curve: Tensor) -> PlannerStats:
        """Wait for the plan and say what it took; the best costs (iterations, B) are the caller's."""
        self._wait()
        taken = 1000 * self.passed()
        return PlannerStats(iterations=len(curve), milliseconds=taken, peak_mb=self._peak_mb(), curve=curve.cpu())

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize(self.device)

    def _peak_mb(self) -> float:
        if self.device.type != "cpu":
            return float(torch.get_device_module(self.device).max_memory_allocated(self.device)) / 1e6
        try:
            import resource
        except ImportError:  # Windows
            return float("nan")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
