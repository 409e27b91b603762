"""The seams of the toolkit: what a predictor, an objective and a planner promise each other.

Protocols are structural: nothing inherits from them. Letters: B environments, C context frames, N candidates,
H horizon (model steps), D latent size, A = F * a action-block size, S arrival times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CostFn: TypeAlias = "Callable[[Tensor], Tensor]"  # plans (B, N, H, A), normalised -> cost (B, N), lower is better


class Context(NamedTuple):
    """What a predictor starts from: the last latents, one model step apart, and the actions between them."""

    z: Tensor  # (B, C, *E), oldest first; z[:, -1] is now
    actions: Tensor  # (B, C - 1, A) normalised action blocks; actions[:, i] leads from z[:, i] to z[:, i + 1]


class Prediction(NamedTuple):
    """What a training step predicted, and what it should have been."""

    hat: Tensor  # (M, ..., D)
    target: Tensor  # (M, ..., D)
    weight: Tensor | None = None  # (M,), of each row in the mean; None for equal ones


class Forecast(NamedTuple):
    """What a predictor expects of candidate plans: all that an objective may look at."""

    z: Tensor  # (B, N, S, *E) latents predicted at ``steps``
    steps: tuple[int, ...]  # the S model steps, counted from 1
    plans: Tensor  # (B, N, H, A) normalised
    goal: Tensor  # (B, *E)
    context: Context
    predictor: Predictor

    def at(self, *steps: int) -> Tensor:
        """Latents after some of the steps, (B, N, len(steps), *E)."""
        if steps == self.steps:
            return self.z
        import torch  # a list of indices would be sent to the device, which a recorded solve cannot do

        places = [self.steps.index(step) for step in steps]
        return torch.cat([self.z[:, :, :0], *(self.z[:, :, i : i + 1] for i in places)], dim=2)


@dataclass(frozen=True, kw_only=True)
class PlannerStats:
    """What a solve took."""

    iterations: int  # those that were finished
    milliseconds: float  # wall clock, until the plan is there
    peak_mb: float  # most memory held so far, on the accelerator or else by the process; NaN where nobody says
    curve: Tensor  # (iterations, B) on the processor, the cost of the cheapest plan seen, after each iteration


class Plan(NamedTuple):
    """What a planner found for every environment, in normalised action units."""

    actions: Tensor  # (B, H, A) the plan to execute, within the bounds
    cost: Tensor  # (B,) cost of ``best``
    best: Tensor  # (B, H, A) the cheapest candidate seen
    std: Tensor  # (B, H, A) the final standard deviation of the search
    elites: Tensor | None  # (B, M, H, A) further plans that the next solve may start from; None for most planners
    stats: PlannerStats


class Predictor(Protocol):
    """Predicts latents from a context under candidate plans."""

    @property
    def max_prefix(self) -> int:
        """The longest action prefix that was trained; 1 for a one-step predictor."""
        ...

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps (counted from 1): plans (B, N, H, A) -> (B, N, S, *E).

        Costs no more than the steps ask for; differentiable in the plans.
        """
        ...

    def rollout(self, context: Context, plans: Tensor) -> Tensor:
        """Latents after every step: plans (B, N, H, A) -> (B, N, H, *E)."""
        ...


class Objective(Protocol):
    """Judges what is predicted of a plan. One that never looks at the goal says so by ``reads_goal = False``."""

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The model steps, ascending from 1, at which it reads the predicted latents of plans that long."""
        ...

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N), lower is better; every candidate's independent of the others."""
        ...


class Planner(Protocol):
    """Searches for the cheapest plan of every environment at once."""

    config: Any  # a frozen dataclass

    def solve(
        self,
        cost_fn: CostFn,
        start: Tensor,
        generators: Sequence[torch.Generator],
        proposals: Tensor | None = None,
        until: float | None = None,
    ) -> Plan:
        """Minimise ``cost_fn`` from a first guess ``start`` (B, H, A), with one generator per environment.

        ``proposals`` (B, M, H, A) are further guesses that are tried once. ``until``, on the clock of
        ``time.perf_counter``, ends the search early with the best found.
        """
        ...

    def population(self, iteration: int) -> int:
        """Candidates scored in an iteration."""
        ...
