"""Gradient descent through the model.

Shapes: B environments, N starts, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.noise import correlate
from worldmodel.planners.config import GradientConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import around
from worldmodel.planners.search import Search

MEMORY = (0.9, 0.999)  # of Adam's two moments


class Descent(NamedTuple):
    """Plans on their way down, and the moments of their slope; each (B, N, H, A)."""

    plans: Tensor
    first: Tensor
    second: Tensor


def begun(plans: Tensor) -> Descent:
    """Where a descent starts."""
    return Descent(plans, torch.zeros_like(plans), torch.zeros_like(plans))


def descended(descent: Descent, problem: Problem, rate: float, step: int) -> tuple[Descent, Tensor, Tensor]:
    """Take step ``step``, counted from 0, of Adam (1412.6980) within the bounds.

    Returns:
        Where it led, and where it was made: those plans and their costs (B, N).
    """
    plans, cost, slope = problem.slope(descent.plans)
    first = torch.lerp(slope, descent.first, MEMORY[0])
    second = torch.lerp(slope.square(), descent.second, MEMORY[1])
    mean, scale = first / (1 - MEMORY[0] ** (step + 1)), (second / (1 - MEMORY[1] ** (step + 1))).sqrt()
    moved = problem.clamp(plans - rate * mean / scale.clamp(min=1e-12))
    return Descent(moved, first, second), plans, cost


class Gradient(Search[Descent]):
    """Adam through the model from several starts at once: the first guess, and noise around it.

    Every start is clamped to the bounds after every step, and the result is the cheapest plan that any of them came
    by. The rate falls linearly, to settle. A predictor's slopes may round differently for other numbers of
    candidates, and Adam makes much of small ones: planning together is planning alone only nearly.
    """

    Config = GradientConfig

    def begin(self, problem: Problem) -> Descent:
        """The starts."""
        noise = correlate(problem.noise(self.config.candidates), self.config.correlation, self.action_block)
        return begun(around(problem.start, torch.full_like(problem.start, self.config.init_std), noise))

    def iterate(self, state: Descent, problem: Problem, iteration: int) -> Descent:
        """A step of each."""
        rate = self.config.rate * (1 - iteration / self.config.iterations)
        return descended(state, problem, rate, iteration)[0]

    def result(self, state: Descent, problem: Problem) -> tuple[Tensor, Tensor]:
        """The cheapest plan seen; nothing is said of its standard deviation."""
        return problem.best, torch.zeros_like(problem.best)
