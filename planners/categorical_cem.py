"""The cross-entropy method for discrete actions.

Shapes: B environments, N candidates, K elites, H horizon (model steps), F action block, n choices, A = F * n.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.planners.config import CategoricalCEMConfig
from worldmodel.planners.problem import Problem
from worldmodel.planners.sampling import cheapest, fit
from worldmodel.planners.search import Search


class Categorical(NamedTuple):
    """How likely each choice is; the n of an action need not sum to one."""

    weight: Tensor  # (B, H, F, n)


class CategoricalCEM(Search[Categorical]):
    """Sample choices, keep the cheapest plans, count what they chose, repeat.

    For tasks whose n discrete actions are numbers of which the largest is taken: a choice is its upper bound, and the
    lower one of the others. The first weights are halfway between equal ones and the first guess; the result is the
    cheapest plan seen.

    Raises:
        BadValue: bounds that are not finite, or equal.
    """

    Config = CategoricalCEMConfig

    def __init__(self, config: Any, low: Tensor, high: Tensor, action_block: int = 1) -> None:
        super().__init__(config, low, high, action_block)
        if not bool(((high - low).isfinite() & (low < high)).all()):
            raise BadValue(
                f"action bounds: categorical-cem chooses between them and expected finite low < high, got "
                f"{low.tolist()} and {high.tolist()}"
            )

    def begin(self, problem: Problem) -> Categorical:
        """Half of the first guess."""
        return Categorical(self._blurred(self._shares(problem.start, problem), 0.5))

    def iterate(self, state: Categorical, problem: Problem, iteration: int) -> Categorical:
        """Sample, score, and count the elites' choices."""
        noise = problem.noise(self.config.candidates)
        # Of exponential waiting times with these rates, each is the shortest as often as it weighs.
        time = -torch.special.log_ndtr(noise).unflatten(-1, state.weight.shape[2:]) / state.weight[:, None]
        choice = time.argmin(dim=-1)
        choice[:, 0] = state.weight.argmax(dim=-1)
        elites = cheapest(*problem.score(self._plans(choice, problem)), self.config.elites)
        counted = self._blurred(fit(self._shares(elites, problem))[0], self.config.smoothing)
        return Categorical(torch.lerp(counted, state.weight, self.config.momentum))

    def result(self, state: Categorical, problem: Problem) -> tuple[Tensor, Tensor]:
        """The cheapest plan seen, and the standard deviation of a choice."""
        std = (state.weight * (1 - state.weight)).clamp(min=0).sqrt().flatten(2)
        return problem.best, std * (problem.high - problem.low)

    def _blurred(self, shares: Tensor, share: float) -> Tensor:
        return (1 - share) * shares + share / shares.shape[-1]

    def _shares(self, plans: Tensor, problem: Problem) -> Tensor:
        """Where plans (..., H, A) lie between the bounds, 0 to 1: (..., H, F, n)."""
        shares = (plans - problem.low) / (problem.high - problem.low)
        return shares.unflatten(-1, (self.action_block, -1))

    def _plans(self, choice: Tensor, problem: Problem) -> Tensor:
        """Plans (B, N, H, A) of choices (B, N, H, F)."""
        n = len(self.low) // self.action_block
        chosen = choice[..., None] == torch.arange(n, device=choice.device)
        return torch.where(chosen.flatten(-2), problem.high, problem.low)
