"""Plans that a policy would make: it acts inside the world model, and the planner tries what it did.

Shapes: B environments, M plans, H horizon (model steps), F action block, a action size, A = F * a, D latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, Predictor
from worldmodel.planners import sb3
from worldmodel.planners.config import SearchConfig
from worldmodel.planners.sampling import by_environment, white_noise
from worldmodel.planners.settings import require_arguments

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """A policy whose plans are candidates of a search's first iteration, and perhaps where it starts.

    At every model step the policy acts on the latent that the one before led to, and its action is held for the F
    primitive actions of the block. The first plan is the policy's own, noise is added to the actions of the others.

    Attributes:
        policy: a function (latents (M, D), goals (M, D) or None) -> actions (M, a) in the environment's units; or a
            policy or algorithm of Stable-Baselines3 that was trained on latents, with the goals' behind them or not.
        count: M, which must leave at least one candidate to the planner.
        std: standard deviation of the noise, normalised action units.
        start: whether the search also starts from the policy's own plan, and only tries the rest of its last one.

    Raises:
        BadValue: no policy, or a number out of range.
    """

    policy: Callable[[Tensor, Tensor | None], Tensor] | Any
    count: int = 8
    std: float = 0.5
    start: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.policy, type) or not (callable(self.policy) or sb3.policy_of(self.policy)):
            raise BadValue(
                "proposal: expected a function of (latents, goals), or a policy of Stable-Baselines3, "
                f"got {self.policy!r}"
            )
        if sb3.policy_of(self.policy) is None:
            require_arguments("proposal", self.policy, "latents, goals")
        if self.count < 1 or not 0 <= self.std < float("inf"):
            raise BadValue(f"proposal: expected count >= 1 and a finite std >= 0, got {self.count} and {self.std}")

    def require_fit(self, model: WorldModel, search: SearchConfig) -> None:
        """Raise ``BadValue`` if the planner has too few candidates, or the policy other spaces than the model."""
        kept = int(getattr(search, "kept", 0))
        if self.count + kept >= search.candidates:
            also = f" and {kept} kept elites" if kept else ""
            raise BadValue(
                f"proposal: {self.count} plans{also} leave none of {search.candidates} candidates to the planner"
            )
        policy, a = sb3.policy_of(self.policy), model.config.action_dim
        if policy is not None:
            sb3.require_width(policy, model.config.latent_dim)
            if policy.action_space.shape != (a,):
                raise BadValue(f"proposal: expected a policy with actions ({a},), it has {policy.action_space}")

    @torch.no_grad()
    def plans(
        self,
        model: WorldModel,
        predictor: Predictor,
        context: Context,
        goal: Tensor | None,
        horizon: int,
        bounds: tuple[Tensor, Tensor],
        generators: Sequence[torch.Generator],
        left: Tensor,
    ) -> Tensor:
        """Act for H model steps in M copies of each environment.

        Args:
            model: knows the units of actions.
            predictor: says what they lead to.
            context: the encoded present of B environments.
            goal: encoded goals (B, D); None where the objective looks at none.
            horizon: H.
            bounds: the least and the largest of a normalised action block, (A,) each.
            generators: of the noise, one for each environment.
            left: model steps until the goals are to be reached (B,).

        Returns:
            Normalised plans (B, M, H, A).

        Raises:
            BadValue: the policy's actions have another shape.
        """
        B, M, F = len(context.z), self.count, model.config.action_block
        noise = self.std * white_noise(generators, (M, horizon, model.config.action_dim), like=context.z)
        noise[:, 0] = 0
        z, blocks = (x.repeat_interleave(M, dim=0) for x in context)  # (B * M, c, D), (B * M, c - 1, A)
        plans = []
        for step in range(horizon):
            own = self.blocks(model, z.unflatten(0, (B, M)), goal, left - step)
            block = own.to(z) + noise[:, :, step].repeat(1, 1, F)
            plans.append(block.nan_to_num(0.0).clamp(*bounds))
            if step + 1 < horizon:
                rows = plans[-1].flatten(0, 1)[:, None]
                after = predictor.arrivals(Context(z, blocks), rows[:, None], (1,))[:, 0]
                z = torch.cat([z, after.to(z)], dim=1)[:, -model.config.context :]
                blocks = torch.cat([blocks, rows], dim=1)[:, blocks.shape[1] + 2 - z.shape[1] :]
        return torch.stack(plans, dim=2)

    def blocks(self, model: WorldModel, z: Tensor, goal: Tensor | None, left: Tensor) -> Tensor:
        """What the policy does now: latents (B, M, c, D), goals (B, D) or None -> normalised blocks (B, M, A)."""
        read = [] if goal is None else [goal[:, None].expand(-1, z.shape[1], -1)]
        own = by_environment(partial(self._actions, model.config.action_dim), z[:, :, -1], *read).to(z)
        return model.normalise(own.repeat(1, 1, model.config.action_block))

    def _actions(self, width: int, z: Tensor, goal: Tensor | None = None) -> Tensor:
        """The policy's own actions (M, a) on latents (M, D)."""
        policy = sb3.policy_of(self.policy)
        with torch.autocast(z.device.type, enabled=False):
            actions = self.policy(z, goal) if policy is None else sb3.act(policy, z, goal)
        if not isinstance(actions, Tensor) or actions.shape != (len(z), width):
            got = f"shape {tuple(actions.shape)}" if isinstance(actions, Tensor) else type(actions).__name__
            raise BadValue(f"proposal: expected actions ({len(z)}, {width}) of latents {tuple(z.shape)}, got {got}")
        return actions


def as_proposal(given: Any) -> Proposal:
    """A ``Proposal`` as it is, or that of a policy with its defaults.

    Raises:
        BadValue: no policy.
    """
    return given if isinstance(given, Proposal) else Proposal(policy=given)
