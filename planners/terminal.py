"""What comes after a plan, judged by somebody's value function.

Shapes: B environments, N candidates, D latent size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worldmodel.blocks import at_least_float32
from worldmodel.errors import BadValue
from worldmodel.interfaces import Forecast
from worldmodel.planners import sb3
from worldmodel.planners.sampling import by_environment
from worldmodel.planners.settings import require_arguments


@dataclass(frozen=True)
class TerminalValue:
    """Minus the value of the latent at the last step, ``-V(z_H)``; a term of a ``Sum`` as a rule.

    Attributes:
        value: a function of latents (N, D) -> (N,), or a policy or algorithm of Stable-Baselines3 that was trained on
            latents: of PPO and A2C its value network, of SAC, TD3 and DDPG the least of its critics.
        reads_goal: whether it takes the goals' latents (N, D) too.

    Raises:
        BadValue: nothing that has values.
    """

    value: Callable[..., Tensor] | Any
    reads_goal: bool = False

    def __post_init__(self) -> None:
        policy = sb3.policy_of(self.value)
        if not (
            callable(self.value) if policy is None else hasattr(policy, "predict_values") or hasattr(policy, "critic")
        ):
            raise BadValue(f"value: expected a function of latents or a policy with critics, got {self.value!r}")
        if policy is None:
            require_arguments("value", self.value, "latents, goals" if self.reads_goal else "latents")

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The last one."""
        return (horizon,)

    def __call__(self, forecast: Forecast) -> Tensor:
        """Cost (B, N).

        Raises:
            BadValue: the function returned something else, or the policy does not observe such latents.
        """
        z = at_least_float32(forecast.at(forecast.plans.shape[2])[:, :, 0])
        read = [z, at_least_float32(forecast.goal)[:, None].expand_as(z)] if self.reads_goal else [z]
        with torch.autocast(z.device.type, enabled=False):
            return -by_environment(self._of, *read)

    def _of(self, z: Tensor, *goal: Tensor) -> Tensor:
        """Values (M,) of latents (M, D), and of goals if it reads them."""
        policy = sb3.policy_of(self.value)
        if policy is not None:
            sb3.require_width(policy, z.shape[1], self.reads_goal)
            return sb3.value(policy, z, *(goal or [None]))
        value = self.value(z, *goal)
        if not isinstance(value, Tensor) or value.shape != z.shape[:1]:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise BadValue(f"value: expected ({len(z)},) of latents {tuple(z.shape)}, got {got}")
        return at_least_float32(value)
