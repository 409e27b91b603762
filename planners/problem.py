"""One solve as a planner sees it: noise to draw, plans to judge, and the cheapest one so far.

Shapes: B environments, n candidates, H horizon (model steps), A = F * a action-block size.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.interfaces import CostFn


class Problem:
    """Costs of plans within the bounds, and white noise.

    Args:
        cost_fn: plans (B, n, H, A) -> cost (B, n); NaN counts as infinitely bad.
        start: the first guess, (B, H, A).
        low: lower bound of an action block, (A,).
        high: upper bound, (A,).
        noise: n -> standard normal noise (B, n, H, A), another one each time.
        proposals: plans (B, M, H, A) that replace the last of the first candidates.

    Attributes:
        best: the cheapest plan seen, (B, H, A).
        best_cost: its cost, (B,).
        open: environments still searched, (B,) bool; None for all. The others' best plan stays.
    """

    def __init__(
        self,
        cost_fn: CostFn,
        start: Tensor,
        low: Tensor,
        high: Tensor,
        noise: Callable[[int], Tensor],
        proposals: Tensor | None = None,
    ) -> None:
        self.cost_fn, self.noise = cost_fn, noise
        self.low, self.high = low.to(start), high.to(start)
        self.start = self.clamp(start)
        self.best, self.best_cost = self.start, start.new_full((len(start),), torch.inf)
        self.open: Tensor | None = None
        self._proposals = proposals

    def clamp(self, plans: Tensor) -> Tensor:
        """Bring plans (..., A) within the bounds."""
        return plans.clamp(self.low, self.high)

    def score(self, plans: Tensor) -> tuple[Tensor, Tensor]:
        """Judge candidates (B, n, H, A): what they are within the bounds, and their costs (B, n)."""
        plans = self._admitted(plans)
        return plans, self._noted(plans, self.cost_fn(plans))

    def slope(self, plans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge candidates and differentiate: plans and costs as by ``score``, and d cost / d plans (B, n, H, A).

        The slope is zero where it is not finite.

        Raises:
            WorldModelError: the cost cannot be differentiated.
        """
        plans = self._admitted(plans)
        with torch.enable_grad():
            leaf = plans.detach().requires_grad_()
            try:
                cost = self.cost_fn(leaf)
                (slope,) = torch.autograd.grad(cost.sum(), leaf)
            except RuntimeError as error:
                if not re.search("requires? grad|gradient|differentiated", str(error)):
                    raise
                why = str(error).split(".")[0]
                raise WorldModelError(
                    f"objective: this planner descends slopes, and the cost has none ({why}); write it in "
                    "differentiable operations on tensors, or plan with cem"
                ) from error
        return plans, self._noted(plans, cost.detach()), slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _admitted(self, plans: Tensor) -> Tensor:
        if self._proposals is not None:
            kept = plans.shape[1] - self._proposals.shape[1]
            plans, self._proposals = torch.cat([plans[:, :kept], self._proposals.to(plans)], dim=1), None
        return self.clamp(plans)

    def _noted(self, plans: Tensor, cost: Tensor) -> Tensor:
        assert cost.shape == plans.shape[:2], (cost.shape, plans.shape)
        cost = cost.to(plans.dtype).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        least, place = cost.min(dim=1)
        better = least < self.best_cost if self.open is None else (least < self.best_cost) & self.open
        cheapest = plans.take_along_dim(place[:, None, None, None], dim=1)[:, 0]
        self.best = torch.where(better[:, None, None], cheapest, self.best)
        self.best_cost = torch.where(better, least, self.best_cost)
        return cost


def require_finite(best_cost: Tensor) -> None:
    """Raise if some environment has no plan of finite cost.

    Args:
        best_cost: of the cheapest plan of each environment, (B,).

    Raises:
        WorldModelError: which one.
    """
    bad = (~best_cost.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise WorldModelError(
            f"no candidate plan of environment {bad[0]} has a finite cost: the model predicts NaN or infinite "
            f"latents, or the objective makes NaN of them ({len(bad)} of {len(best_cost)} environments)"
        )
