"""Model-predictive path integral control.

Shapes: B environments, N candidates, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.noise import correlate
from worldmodel.planners.cem import Gaussian
from worldmodel.planners.config import MPPIConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import around, pairwise_sum
from worldmodel.planners.search import Search


class MPPI(Search[Gaussian]):
    """Sample plans around a mean and move it to their average, in which cheap plans weigh most (1509.01149).

    The weights are ``w_i ~ exp(-(J_i - J_min) / (temperature * spread))``. The spread is the mean of ``J_j - J_min``
    over the environment's candidates, so one temperature suits costs of any scale. As in TD-MPC2 (2310.16828) the std
    is refitted too, ``std^2 = sum_i w_i (u_i - mean)^2``, with a floor: a fixed one, as in the original, either misses
    what is far or never settles on what is near. The result is the mean.
    """

    Config = MPPIConfig

    def begin(self, problem: Problem) -> Gaussian:
        """The first guess, as uncertain as configured."""
        return Gaussian(problem.start, torch.full_like(problem.start, self.config.init_std))

    def iterate(self, state: Gaussian, problem: Problem, iteration: int) -> Gaussian:
        """Sample, score, and average."""
        noise = problem.noise(self.config.candidates)
        plans = around(*state, correlate(noise, self.config.fading(iteration), self.action_block))
        plans, cost = problem.score(plans)
        weights = soft_weights(cost, self.config.temperature)[:, :, None, None]
        mean = pairwise_sum(weights * plans)
        std = pairwise_sum(weights * (plans - mean[:, None]).square()).sqrt()
        return Gaussian(mean, std.clamp(min=self.config.min_std))

    def result(self, state: Gaussian, problem: Problem) -> tuple[Tensor, Tensor]:
        """The last mean and std."""
        return state


def soft_weights(cost: Tensor, temperature: float) -> Tensor:
    """Weights (B, N) of candidates, which sum to one, from their costs (B, N); an infinite cost weighs nothing."""
    excess = (cost - cost.amin(dim=1, keepdim=True)).nan_to_num(nan=0.0, posinf=torch.inf)  # inf - inf is no number
    finite = excess.isfinite()
    total = pairwise_sum(torch.where(finite, excess, 0.0))
    spread = total / pairwise_sum(finite.to(cost))
    weights = (-excess / (temperature * spread).clamp(min=torch.finfo(cost.dtype).tiny)[:, None]).exp()
    return weights / pairwise_sum(weights)[:, None]
