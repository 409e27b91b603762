"""The function that a planner minimises: candidate plans in, costs out, in pieces that fit the machine.

Shapes: B environments, N candidates, H horizon (model steps), S steps that are read, D latent size, A = F * a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldmodel.interfaces import Context, CostFn, Forecast, Objective, Predictor

# Candidates times steps that are held at once, in one call: what a processor's caches hold (flat from 5,000 to 10,000
# in every size of model; a fifth slower at 12,000), an accelerator's memory.
TOKENS = {"cpu": 6_000, "accelerator": 1_000_000}


class Cost:
    """Plans (B, N, H, A) -> cost (B, N), for one encoded present and one goal.

    Predictors do not let a row's result depend on how many rows they are given: they pad few rows, whose products round
    differently (``worldmodel.blocks.padded_rows``). So on a processor costs are bit for bit the same in pieces of any
    size; on an accelerator, in bfloat16, and where slopes are wanted too, they are so but for rounding.

    Args:
        predictor: predicts what the objective reads, and nothing more.
        objective: judges it.
        context: the encoded present, z (B, C, D).
        goal: the encoded goal, (B, D).
        chunk: candidates predicted in one call, which bounds memory; 0 for as many as suit the device.
    """

    def __init__(
        self, predictor: Predictor, objective: Objective, context: Context, goal: Tensor, chunk: int = 0
    ) -> None:
        self.predictor, self.objective, self.context, self.goal, self.chunk = predictor, objective, context, goal, chunk

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that differ from solve to solve."""
        return (*self.context, self.goal)

    def of(self, *inputs: Tensor) -> Cost:
        """The same cost of other ``inputs``."""
        z, actions, goal = inputs
        return Cost(self.predictor, self.objective, Context(z, actions), goal, self.chunk)

    def __call__(self, plans: Tensor) -> Tensor:
        """Cost (B, N) of plans (B, N, H, A)."""
        B, N, H, _ = plans.shape
        rows = self.chunk or self._suitable(H, plans.device)
        if rows >= B * N:
            return self._cost(plans)
        environments = max(1, rows // N)  # whole ones while they fit, else a part of one
        columns = []
        for start in range(0, B, environments):
            some = slice(start, start + environments)
            part = self.of(*(x[some] for x in self.inputs))
            pieces = torch.split(plans[some], rows if environments == 1 else N, dim=1)
            columns.append(torch.cat([_piece(piece, part._cost) for piece in pieces], dim=1))
        return torch.cat(columns)

    def _suitable(self, horizon: int, device: torch.device) -> int:
        tokens = TOKENS["cpu" if device.type == "cpu" else "accelerator"]
        jump = self.predictor.max_prefix
        held = min(horizon, jump) if jump > 1 else horizon  # one step at a time needs all actions' modulations
        return max(1, tokens // held)

    def _cost(self, plans: Tensor) -> Tensor:
        steps = self.objective.steps(plans.shape[2])
        z = self.predictor.arrivals(self.context, plans, steps)
        return self.objective(Forecast(z, steps, plans, self.goal, self.context, self.predictor))


class _Differentiated(torch.autograd.Function):
    """Costs of a piece whose gradient is computed along with them, so that its activations can be let go at once."""

    @staticmethod
    def forward(ctx: Any, plans: Tensor, cost_fn: CostFn) -> Tensor:
        with torch.enable_grad():
            leaf = plans.detach().requires_grad_()
            cost = cost_fn(leaf)
            (slope,) = torch.autograd.grad(cost.sum(), leaf)
        ctx.save_for_backward(slope)
        return cost.detach()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return upstream[0][:, :, None, None].to(slope) * slope, None


def _piece(plans: Tensor, cost_fn: CostFn) -> Tensor:
    if not (plans.requires_grad and torch.is_grad_enabled()):
        return cost_fn(plans)
    cost: Tensor = _Differentiated.apply(plans, cost_fn)  # type: ignore[no-untyped-call]
    return cost
