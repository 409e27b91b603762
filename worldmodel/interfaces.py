"""The seams of the toolkit: what an encoder, a predictor, an objective and a planner promise each other.

Protocols are structural: nothing inherits from them. Letters: B environments, T time, C context frames, N candidates,
H horizon (model steps), D latent size, A = F * a action-block size, S arrival times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

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


class Plan(NamedTuple):
    """What a planner found for every environment, in normalised action units."""

    actions: Tensor  # (B, H, A) the plan to execute, within the bounds
    cost: Tensor  # (B,) cost of ``best``
    best: Tensor  # (B, H, A) the cheapest candidate seen
    std: Tensor  # (B, H, A) the final standard deviation of the search


class Encoder(Protocol):
    """Turns a window of observations into latents; it names the columns it reads."""

    columns: Sequence[str]

    def __call__(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Encode every frame by itself: columns (B, T, ...) -> z (B, T, *E)."""
        ...


class Predictor(Protocol):
    """Predicts latents from a context under candidate plans."""

    @property
    def max_prefix(self) -> int:
        """The longest action prefix that was trained; 1 for a one-step predictor."""
        ...

    def rollout(self, context: Context, plans: Tensor) -> Tensor:
        """Latents after every step: plans (B, N, H, A) -> (B, N, H, *E)."""
        ...

    def final(self, context: Context, plans: Tensor) -> Tensor:
        """Latent after the last step only: plans (B, N, H, A) -> (B, N, *E)."""
        ...

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps (counted from 1): plans (B, N, H, A) -> (B, N, S, *E)."""
        ...


class Objective(Protocol):
    """Judges predicted latents against a goal."""

    @property
    def reads(self) -> str:
        """What ``z`` must hold: ``final`` (B, N, *E), ``arrivals`` (B, N, S, *E) or ``path`` (B, N, H, *E)."""
        ...

    @property
    def steps(self) -> tuple[int, ...]:
        """The arrival times that ``arrivals`` reads, in model steps from 1; empty otherwise."""
        ...

    def __call__(self, z: Tensor, plans: Tensor, goal: Tensor) -> Tensor:
        """Cost (B, N) of latents ``z`` reached by ``plans`` (B, N, H, A) for ``goal`` (B, *E)."""
        ...


class Planner(Protocol):
    """Searches for the cheapest plan of every environment at once."""

    def solve(
        self,
        cost_fn: CostFn,
        start: Tensor,
        generators: Sequence[torch.Generator],
        proposals: Tensor | None = None,
    ) -> Plan:
        """Minimise ``cost_fn`` from a first guess ``start`` (B, H, A), with one generator per environment.

        ``proposals`` (B, M, H, A) are further guesses that are tried once.
        """
        ...
