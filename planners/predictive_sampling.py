"""Predictive sampling.

Shapes: B environments, N candidates, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.noise import correlate
from worldmodel.planners.config import PredictiveSamplingConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import around, cheapest
from worldmodel.planners.search import Search


class Nominal(NamedTuple):
    """The plan that noise is added to."""

    plan: Tensor  # (B, H, A)


class PredictiveSampling(Search[Nominal]):
    """Keep the cheapest of a plan and noisy copies of it, of a fixed standard deviation (2212.00541).

    There the copies are smooth because they are splines; ours are because their noise is correlated in time.
    """

    Config = PredictiveSamplingConfig

    def begin(self, problem: Problem) -> Nominal:
        """The first guess."""
        return Nominal(problem.start)

    def iterate(self, state: Nominal, problem: Problem, iteration: int) -> Nominal:
        """Copy, score, and keep the cheapest."""
        noise = correlate(problem.noise(self.config.candidates), self.config.fading(iteration), self.action_block)
        plans = around(state.plan, torch.full_like(state.plan, self.config.init_std), noise)
        return Nominal(cheapest(*problem.score(plans), 1)[:, 0])

    def result(self, state: Nominal, problem: Problem) -> tuple[Tensor, Tensor]:
        """The cheapest plan, and the standard deviation of the noise."""
        return problem.best, torch.full_like(state.plan, self.config.init_std)
