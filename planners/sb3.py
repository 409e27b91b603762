"""Policies of Stable-Baselines3 that were trained on latents, asked without leaving torch. It need not be installed.

Shapes: M rows, D latent size, a action size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldmodel.errors import BadValue


def policy_of(given: Any) -> Any:
    """The policy of an algorithm, or the policy itself; None for what is neither.

    Raises:
        BadValue: an algorithm that learnt from observations which ``VecNormalize`` had changed.
    """
    normalised = given.get_vec_normalize_env() if hasattr(given, "get_vec_normalize_env") else None
    if getattr(normalised, "norm_obs", False):
        raise BadValue(
            f"{type(given).__name__}: it learnt from latents that VecNormalize had changed, and is asked on plain "
            "ones; train it with VecNormalize(norm_obs=False)"
        )
    policy = getattr(given, "policy", given)
    return policy if hasattr(policy, "_predict") and hasattr(policy, "observation_space") else None


def require_width(policy: Any, width: int, goal: bool | None = None) -> None:
    """Raise ``BadValue`` unless it observes latents (D,), or (2D,) with the goal's; ``goal`` says which, None either.

    Dictionaries, as HER has them, hold both.
    """
    space = policy.observation_space
    allowed = [(width * n,) for n in ((1, 2) if goal is None else (1 + goal,))]
    if hasattr(space, "values"):
        fits = {x.shape for x in space.values()} == {(width,)} and not (goal is False and "desired_goal" in [*space])
    else:
        fits = space.shape in allowed
    if not fits:
        expected = " or ".join(map(str, allowed))
        raise BadValue(f"{type(policy).__name__}: expected one that observes latents {expected}, it observes {space}")


def observed(policy: Any, z: Tensor, goal: Tensor | None) -> Any:
    """What the policy observes of latents (M, D) and, if it looks at them, of goals (M, D)."""
    z = z.to(policy.device, torch.float32)
    space = policy.observation_space
    names = [*space] if hasattr(space, "values") else []
    if not ("desired_goal" in names if names else space.shape != (z.shape[1],)):
        return dict.fromkeys(names, z) if names else z
    if goal is None:
        raise BadValue(f"{type(policy).__name__}: it observes goals too, and the objective looks at none")
    if names:
        return dict.fromkeys(names, z) | {"desired_goal": goal.to(z)}
    return torch.cat([z, goal.to(z)], dim=1)


def act(policy: Any, z: Tensor, goal: Tensor | None) -> Tensor:
    """Actions (M, a) in the units of the policy's action space, without noise."""
    policy.set_training_mode(False)
    actions: Tensor = policy._predict(observed(policy, z, goal), deterministic=True).flatten(1)
    if policy.squash_output:
        low, high = (
            torch.as_tensor(x).flatten().to(actions) for x in (policy.action_space.low, policy.action_space.high)
        )
        actions = low + (actions + 1) / 2 * (high - low)
    return actions.to(z)


def value(policy: Any, z: Tensor, goal: Tensor | None) -> Tensor:
    """Value (M,) of latents: the value network's, or the least that critics say of the policy's own action."""
    policy.set_training_mode(False)
    seen = observed(policy, z, goal)
    if hasattr(policy, "predict_values"):
        return policy.predict_values(seen).flatten().to(z)
    return torch.cat(policy.critic(seen, policy._predict(seen, deterministic=True)), dim=1).amin(dim=1).to(z)
