"""The cross-entropy method.

Shapes: B environments, n candidates, K elites, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.noise import correlate
from worldmodel.planners.config import CEMConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import around, cheapest, fit
from worldmodel.planners.search import Search


class Gaussian(NamedTuple):
    """Where a search looks: independent normal distributions."""

    mean: Tensor  # (B, H, A)
    std: Tensor  # (B, H, A)


class CEM(Search[Gaussian]):
    """Sample plans around a mean, keep the cheapest, fit mean and std to them, repeat (2603.19312, section 4).

    As there, candidate 0 is the mean itself, the new std is the elites' unbiased one, and the result is the final
    mean. Where we deviate: candidates are clamped to the action bounds before they are scored, their noise is
    correlated in time, and their number can shrink.
    """

    Config = CEMConfig

    def begin(self, problem: Problem) -> Gaussian:
        """The first guess, as uncertain as configured."""
        return Gaussian(problem.start, torch.full_like(problem.start, self.config.init_std))

    def iterate(self, state: Gaussian, problem: Problem, iteration: int) -> Gaussian:
        """Sample, score, and fit to the elites."""
        noise = problem.noise(self.population(iteration))
        plans = around(*state, correlate(noise, self.config.fading(iteration), self.action_block))
        mean, std = fit(self.improved(cheapest(*problem.score(plans), self.config.elites), problem, iteration))
        return Gaussian(mean, std.clamp(min=self.config.min_std))

    def improved(self, elites: Tensor, problem: Problem, iteration: int) -> Tensor:
        """What the fit is made to: the elites (B, K, H, A) as they are."""
        return elites

    def result(self, state: Gaussian, problem: Problem) -> tuple[Tensor, Tensor]:
        """The last mean and std."""
        return state

    def settled(self, state: Gaussian) -> Tensor | None:
        """Environments whose widest standard deviation is below the tolerance."""
        return state.std.amax(dim=(1, 2)) < self.config.tolerance if self.config.tolerance else None
