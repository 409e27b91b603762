"""The cross-entropy method, for all environments at once.

Shapes: B environments, N candidates, K elites, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldmodel.errors import BadValue, WorldModelError
from worldmodel.interfaces import CostFn, Plan
from worldmodel.noise import correlate
from worldmodel.planners.config import CEMConfig
from worldmodel.planners.sampling import pairwise_sum, white_noise


class CEM:
    """Sample plans around a mean, keep the cheapest, fit mean and std to them, repeat (2603.19312, section 4).

    As there, candidate 0 is the mean itself, the new std is the elites' unbiased one, and the result is the final
    mean. Where we deviate: candidates are clamped to the action bounds before they are scored.

    Args:
        config: sizes of the search.
        low: lower bound of a normalised action block, (A,); ``-inf`` for none.
        high: upper bound, (A,); ``inf`` for none.
        action_block: F, primitive actions in a block (only correlated noise looks at it).
    """

    Config = CEMConfig

    def __init__(self, config: CEMConfig, low: Tensor, high: Tensor, action_block: int = 1) -> None:
        if low.shape != high.shape or low.ndim != 1 or not bool((low <= high).all()):
            raise BadValue(f"action bounds: expected low <= high, both (A,), got {low.tolist()} and {high.tolist()}")
        if len(low) % action_block:
            raise BadValue(f"action_block: {len(low)} numbers in a block cannot be split into {action_block} actions")
        self.config, self.low, self.high, self.action_block = config, low, high, action_block

    def solve(
        self,
        cost_fn: CostFn,
        start: Tensor,
        generators: Sequence[torch.Generator],
        proposals: Tensor | None = None,
    ) -> Plan:
        """Minimise ``cost_fn`` for B environments.

        Planning them together gives bit for bit what planning each alone gives, provided ``cost_fn`` computes every
        candidate's cost independently of how many it is given.

        Args:
            cost_fn: plans (B, n, H, A) -> cost (B, n); NaN counts as infinitely bad.
            start: first mean, (B, H, A), normalised action units.
            generators: B generators on the device of ``start``.
            proposals: plans (B, M, H, A), M < N, that replace the last candidates of the first iteration.

        Raises:
            BadValue: shapes that do not fit.
            WorldModelError: an environment none of whose candidates has a finite cost.
        """
        N, K = self.config.candidates, self.config.elites
        self._check(start, generators, proposals)
        B, H, A = start.shape
        mean = self._clamp(start)
        std = torch.full_like(mean, self.config.init_std)
        best, best_cost = mean, mean.new_full((B,), torch.inf)
        for iteration in range(self.config.iterations):
            correlation = self.config.correlation * (1 - iteration / self.config.iterations)
            noise = correlate(white_noise(generators, (N, H, A), like=mean), correlation, self.action_block)
            plans = mean[:, None] + std[:, None] * noise
            plans[:, 0] = mean
            if iteration == 0 and proposals is not None:
                plans[:, N - proposals.shape[1] :] = proposals
            plans = self._clamp(plans)
            cost = self._score(cost_fn, plans)  # (B, N)
            order = cost.argsort(dim=1, stable=True)[:, :K]
            elites = plans.take_along_dim(order[:, :, None, None], dim=1)  # (B, K, H, A)
            least = cost.take_along_dim(order[:, :1], dim=1)[:, 0]
            better = least < best_cost
            best = torch.where(better[:, None, None], elites[:, 0], best)
            best_cost = torch.where(better, least, best_cost)
            mean = pairwise_sum(elites) / K
            variance = pairwise_sum((elites - mean[:, None]).square()) / max(K - 1, 1)
            std = variance.sqrt().clamp(min=self.config.min_std)
        self._require_finite(best_cost)
        return Plan(actions=self._clamp(mean), cost=best_cost, best=best, std=std)

    def _clamp(self, plans: Tensor) -> Tensor:
        return plans.clamp(self.low.to(plans), self.high.to(plans))

    def _score(self, cost_fn: CostFn, plans: Tensor) -> Tensor:
        chunks = torch.split(plans, self.config.chunk or plans.shape[1], dim=1)
        cost = torch.cat([cost_fn(chunk) for chunk in chunks], dim=1)
        assert cost.shape == plans.shape[:2], (cost.shape, plans.shape)
        return cost.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)

    def _check(self, start: Tensor, generators: Sequence[torch.Generator], proposals: Tensor | None) -> None:
        if start.ndim != 3 or start.shape[2] != len(self.low):
            raise BadValue(f"start: expected (B, H, {len(self.low)}), got {tuple(start.shape)}")
        B, H, A = start.shape
        if H < 1:
            raise BadValue("horizon: expected 1 or more, got 0")
        if len(generators) != B:
            raise BadValue(f"generators: expected one for each of {B} environments, got {len(generators)}")
        if proposals is not None and (
            proposals.shape != (B, proposals.shape[1], H, A) or proposals.shape[1] >= self.config.candidates
        ):
            raise BadValue(
                f"proposals: expected ({B}, M, {H}, {A}) with M < candidates: {self.config.candidates}, "
                f"got {tuple(proposals.shape)}"
            )

    @staticmethod
    def _require_finite(best_cost: Tensor) -> None:
        bad = (~best_cost.isfinite()).nonzero().flatten().tolist()
        if bad:
            raise WorldModelError(
                f"no candidate plan of environment {bad[0]} has a finite cost: the model predicts NaN or infinite "
                f"latents ({len(bad)} of {len(best_cost)} environments)"
            )
