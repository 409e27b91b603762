"""Actions as an environment takes them: bounds, shape, and numbers of choices.

Shapes: B environments, F action block, a numbers in a primitive action.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Actions:
    """What the environment takes, and how it is made of the model's a numbers."""

    low: np.ndarray  # (a,) float32 bounds, in the environment's units
    high: np.ndarray  # (a,)
    shape: tuple[int, ...]  # of one action of the environment; () for a choice
    first: int | None = None  # of numbered choices, the largest of the a numbers says which; None for a Box

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):
            raise BadValue(
                f"actions have no bounds: low {self.low.tolist()}, high {self.high.tolist()}; expected finite ones, as "
                "gymnasium.wrappers.RescaleAction or ClipAction over a bounded space give them"
            )

    def bounds(self, model: WorldModel) -> tuple[Tensor, Tensor]:
        """The least and the largest of a normalised action block, (F * a,) each."""
        F, like = model.config.action_block, model.action_low
        low, high = (model.normalise(torch.from_numpy(np.tile(x, F)).to(like)) for x in (self.low, self.high))
        return low, high

    def native(self, actions: np.ndarray) -> np.ndarray:
        """Turn (B, a) into what B environments take: float32 (B, *shape), or int64 (B,)."""
        if self.first is None:
            return actions.reshape(len(actions), *self.shape)
        return self.first + actions.argmax(axis=1)


def actions_of(model: WorldModel, env: Any = None) -> Actions:
    """The model's actions, drawn in to an environment's (or vector environment's) bounds when one is given.

    Raises:
        BadValue: no environment, one of other actions, or actions without bounds.
    """
    a = model.config.action_dim
    low, high = model.action_low.cpu().numpy(), model.action_high.cpu().numpy()
    if env is None:
        return Actions(low=low, high=high, shape=(a,))
    if not hasattr(env, "action_space"):
        raise BadValue(f"env: expected an environment to act in, which has an action space, got {env!r}")
    space = getattr(env, "single_action_space", env.action_space)
    if getattr(space, "n", None) == a and hasattr(space, "start") and not low.any() and (high == 1).all():
        return Actions(low=low, high=high, shape=(), first=int(space.start))
    shape = getattr(space, "shape", None)
    if shape is None or prod(shape) != a or not hasattr(space, "low"):
        raise BadValue(f"env: expected a Box action space of shape ({a},) as the model was trained on, got {space}")
    low, high = np.maximum(low, _inwards(space.low, np.inf)), np.minimum(high, _inwards(space.high, -np.inf))
    if (low > high).any():
        raise BadValue(f"env: no action of {space} lies within the bounds the model was trained with")
    return Actions(low=low, high=high, shape=shape)


def _inwards(bounds: np.ndarray, way: float) -> np.ndarray:
    """Bounds (a,) in float32, towards ``way`` where the nearest number would lie beyond them."""
    exact = bounds.reshape(-1)
    near = exact.astype(np.float32)
    beyond = near < exact if way > 0 else near > exact
    return np.where(beyond, np.nextafter(near, np.float32(way)), near)
