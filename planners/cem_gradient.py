"""The cross-entropy method with gradient steps.

Shapes: B environments, K elites, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.planners.cem import CEM
from worldmodel.planners.config import CEMGradientConfig
from worldmodel.planners.gradient import begun, descended
from worldmodel.planners.problem import Problem


class CEMGradient(CEM):
    """CEM whose elites take a few steps of gradient descent before the mean and std are fitted to them.

    Of each elite the cheapest place that it came by is fitted.
    """

    Config = CEMGradientConfig

    def improved(self, elites: Tensor, problem: Problem, iteration: int) -> Tensor:
        """Where the elites' descents were cheapest, (B, K, H, A)."""
        descent, best, least = begun(elites), elites, elites.new_full(elites.shape[:2], torch.inf)
        rate = self.config.rate * (1 - iteration / self.config.iterations)
        for step in range(self.config.descents):
            descent, plans, cost = descended(descent, problem, rate, step)
            best, least = _cheaper(plans, cost, best, least)
        return _cheaper(*problem.score(descent.plans), best, least)[0]


def _cheaper(plans: Tensor, cost: Tensor, best: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    better = cost < least
    return torch.where(better[:, :, None, None], plans, best), torch.where(better, cost, least)
