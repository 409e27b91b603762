"""What a plan costs whatever its goal: effort, jerks, and predictions that contradict each other.

Shapes: B environments, N candidates, H horizon (model steps), C context frames, D latent size, F action block, a action
size, A = F * a.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, Forecast
from worldmodel.planners.objectives import METRICS, primitive_actions, require_metric

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True)
class _OfActions:
    """Looks at the actions only, and reads no latents."""

    model: WorldModel = field(repr=False)
    reads_goal = False

    def steps(self, horizon: int) -> tuple[int, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class Effort(_OfActions):
    """Mean of ``(u / reach)^2`` over a plan's primitive actions u: 0 for doing nothing, 1 for all one can.

    u is in the environment's units, where 0 is no effort, and reach is the larger of the action's two bounds, so that
    one weight suits forces, speeds and steps in pixels alike.

    Attributes:
        model: knows the units and the bounds.
    """

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N), from 0 to 1."""
        return _relative(self.model, forecast.plans).square().flatten(2).mean(dim=-1)


@dataclass(frozen=True)
class Smoothness(_OfActions):
    """Mean of ``((u' - u) / reach)^2`` over consecutive primitive actions, from block to block too.

    The first u is the last action executed, where the model remembers it: with more than one context frame.

    Attributes:
        model: knows the units and the bounds.
    """

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N), from 0 to 4."""
        F, past = self.model.config.action_block, forecast.context.actions[:, None, -1:]  # (B, 1, 1 or 0, A)
        known = torch.cat([past.expand(-1, forecast.plans.shape[1], -1, -1), forecast.plans], dim=2)
        u = _relative(self.model, known)[:, :, (F - 1) * past.shape[2] :]
        jumps = (u[:, :, 1:] - u[:, :, :-1]).square().flatten(2)
        return jumps.sum(dim=-1) / max(jumps.shape[-1], 1)


@dataclass(frozen=True, kw_only=True)
class SelfConsistency:
    """Distance of a latent predicted directly to the same predicted in two hops (2606.26217).

    The second hop starts at what the first has predicted, as if it had been seen. Where the two disagree, the plan
    leads to where the model does not know its way.

    Attributes:
        jump: model steps predicted directly, at most ``max_prefix`` and H.
        split: model steps of the first hop.
        context: C, latents that the predictor looks at.
        metric: a name in ``worldmodel.planners.objectives.METRICS``; squared L2 in the paper.
    """

    jump: int
    split: int
    context: int = 1
    metric: str = "l2"
    reads_goal = False

    def __post_init__(self) -> None:
        if not 1 <= self.split < self.jump:
            raise BadValue(f"split: expected 1 <= split < jump, got {self.split} of jump {self.jump}")
        require_metric(self.metric)

    def steps(self, horizon: int) -> tuple[int, ...]:
        """What the second hop starts from, and the end of the jump."""
        return (*self._anchor, self.jump)

    @property
    def _anchor(self) -> range:
        return range(max(self.split - self.context, 0) + 1, self.split + 1)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        plans, split = forecast.plans, self.split
        B, N, _, _ = plans.shape
        seen, done = (x[:, None].expand(-1, N, -1, -1) for x in forecast.context)
        z = torch.cat([seen, forecast.at(*self._anchor)], dim=2)[:, :, -self.context :]  # one model step apart
        blocks = torch.cat([done, plans[:, :, :split]], dim=2)
        blocks = blocks[:, :, blocks.shape[2] - z.shape[2] + 1 :]  # those between them
        middle = Context(z.flatten(0, 1), blocks.flatten(0, 1))  # every candidate's own
        rest = plans[:, :, split : self.jump].flatten(0, 1)[:, None]
        hopped = forecast.predictor.arrivals(middle, rest, (self.jump - split,))
        return METRICS[self.metric](forecast.at(self.jump)[:, :, 0], hopped[:, 0, 0].unflatten(0, (B, N)))


def _relative(model: WorldModel, plans: Tensor) -> Tensor:
    """Primitive actions over the larger of their bounds: (B, N, H, A) -> (B, N, H * F, a), within -1 and 1."""
    reach = torch.maximum(model.action_low.abs(), model.action_high.abs()).clamp(min=1e-6)
    return primitive_actions(model, plans) / reach
