"""Predictive sampling.

Shapes: B environments, N candidates, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.noise import correlate
from worldmodel.planners.cem import Gaussian
from worldmodel.planners.config import PredictiveSamplingConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import around, cheapest
from worldmodel.planners.search import Search


class PredictiveSampling(Search[Gaussian]):
    """Keep the cheapest of a plan and noisy copies of it (2212.00541).

    There the copies are smooth because they are splines; ours are because their noise is correlated in time. There one
    iteration is made for every action; we make several for a plan, and the noise shrinks linearly over them.
    """

    Config = PredictiveSamplingConfig

    def begin(self, problem: Problem) -> Gaussian:
        """The first guess, and the widest noise."""
        return Gaussian(problem.start, torch.full_like(problem.start, self.config.init_std))

    def iterate(self, state: Gaussian, problem: Problem, iteration: int) -> Gaussian:
        """Copy, score, and keep the cheapest."""
        noise = correlate(problem.noise(self.config.candidates), self.config.fading(iteration), self.action_block)
        plans = cheapest(*problem.score(around(*state, noise)), 1)
        narrower = self.config.init_std * (1 - (iteration + 1) / self.config.iterations)
        return Gaussian(plans[:, 0], torch.full_like(state.std, narrower))

    def result(self, state: Gaussian, problem: Problem) -> tuple[Tensor, Tensor]:
        """The cheapest plan, and what is left of the noise."""
        return problem.best, state.std
