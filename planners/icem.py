"""The improved cross-entropy method.

Shapes: B environments, n candidates, K elites, M of them kept, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.noise import coloured
from worldmodel.planners.config import ICEMConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import cheapest, fit
from worldmodel.planners.search import Search


class Kept(NamedTuple):
    """Where a search looks, and elites that it tries again."""

    mean: Tensor  # (B, H, A)
    std: Tensor  # (B, H, A)
    plans: Tensor  # (B, M, H, A), best first


class ICEM(Search[Kept]):
    """CEM with coloured noise, elites that are tried again, momentum and fewer candidates by and by (2008.06389).

    As there, the best elites are candidates of the next iteration and, shifted, of the next solve; the mean is a
    candidate of the last iteration; the result is the cheapest plan seen. Where we deviate: the kept elites count as
    candidates, so that an iteration costs what it says, and the first guess is a candidate of the first iteration, so
    that no plan is worse than it.
    """

    Config = ICEMConfig

    def begin(self, problem: Problem) -> Kept:
        """The first guess, as uncertain as configured, and no elites."""
        start = problem.start
        return Kept(start, torch.full_like(start, self.config.init_std), start[:, None][:, :0])

    def iterate(self, state: Kept, problem: Problem, iteration: int) -> Kept:
        """Sample, score with the kept elites, and move towards the fit to the new elites."""
        config, new = self.config, self.population(iteration) - state.plans.shape[1]
        plans = state.mean[:, None] + state.std[:, None] * coloured(
            problem.noise(new), config.colour, self.action_block
        )
        if iteration in (0, config.iterations - 1):
            plans[:, 0] = state.mean
        plans = torch.cat([plans, state.plans], dim=1)
        elites = cheapest(*problem.score(plans), config.elites)
        mean, std = (torch.lerp(x, old, config.momentum) for x, old in zip(fit(elites), state))
        return Kept(mean, std.clamp(min=config.min_std), elites[:, : config.kept])

    def result(self, state: Kept, problem: Problem) -> tuple[Tensor, Tensor]:
        """The cheapest plan seen."""
        return problem.best, state.std

    def elites(self, state: Kept) -> Tensor:
        """The kept ones."""
        return state.plans

    def settled(self, state: Kept) -> Tensor | None:
        """Environments whose widest standard deviation is below the tolerance."""
        return state.std.amax(dim=(1, 2)) < self.config.tolerance if self.config.tolerance else None
