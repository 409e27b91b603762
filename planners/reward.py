"""Planning for reward: what a plan is expected to earn, by the model's own heads.

Shapes: B environments, N candidates, H horizon (model steps), D latent size, F action block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Forecast

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True)
class Reward:
    """Minus the discounted return that is expected of a plan, in the environment's units.

    ``-(sum_{k=1..H} g^(k-1) r(z_{k-1}, a_k, z_k) + g^H V(z_{H-1}, z_H))``, with g the discount of a model step; without
    a value head the plan's own rewards are all that counts. An episode's early end shows in V only.

    Attributes:
        model: has the heads (``wm-train --heads reward,value``).

    Raises:
        BadValue: the model has no reward head.
    """

    model: WorldModel = field(repr=False)
    reads_goal = False

    def __post_init__(self) -> None:
        if self.model.reward is None:
            raise BadValue("objective: 'reward' needs a model with a reward head; train one with --heads reward,value")

    def steps(self, horizon: int) -> tuple[int, ...]:
        """All of them."""
        return tuple(range(1, horizon + 1))

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N)."""
        model, H = self.model, forecast.plans.shape[2]
        assert model.reward is not None
        z = forecast.at(*self.steps(H))
        now = forecast.context.z[:, -1:].to(z)[:, None].expand(-1, z.shape[1], -1, -1)
        before = torch.cat([now, z[:, :, :-1]], dim=2)
        g, F = model.config.discount**model.config.action_block, model.config.action_block
        earned = model.reward(before, forecast.plans.to(z), z).unbind(dim=2)
        total = sum((g**k * reward for k, reward in enumerate(earned)), torch.zeros_like(earned[0]))
        if model.value is not None:
            total = total + g**H * model.value(before[:, :, -1], z[:, :, -1])
        return -F * model.reward_scale * total
