"""Goals of every kind, as latents: an image, a latent, a state that the task draws, a frame of a dataset.

Shapes: B environments, S pixels, D latent size, n numbers in a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.observations import images

KINDS = ("latent", "state", "frame")
WAYS = "goal=image, {'latent': z}, {'state': s} or {'frame': (store, row)}"
MISSING = (
    "goal: there is none: show one in the observation ('goal' or 'desired_goal'), give one to the agent "
    f"({WAYS}), or plan by an objective that needs none"
)


def as_latents(goal: Any, encode: Callable[[np.ndarray], Tensor], size: int, width: int, env: Any = None) -> Tensor:
    """Turn a goal into latents, (D,) for all environments or (B, D) for one each.

    Args:
        goal: an image uint8 (S, S, 3), or (B, S, S, 3); or a mapping with one of ``KINDS``: ``latent`` (D,) or (B, D);
            ``state`` (n,) or (B, n), which the task draws; ``frame``, a pair (store, row) or (store, episode, step)
            with an opened ``EpisodeStore``.
        encode: images (B, S, S, 3) -> latents (B, D).
        size: S.
        width: D.
        env: what draws states.

    Raises:
        UnknownName: another kind of goal.
        BadValue: a goal of another shape or type, or a state that cannot be drawn.
    """
    name = "goal"
    if isinstance(goal, Mapping):
        if len(goal) != 1:
            raise BadValue(f"goal: expected an image or one of {', '.join(KINDS)}, got {[*goal]}")
        ((kind, value),) = goal.items()
        if kind not in KINDS:
            raise UnknownName("kind of goal", str(kind), KINDS)
        if kind == "latent":
            return _latents(value, width)
        name = f"goal {kind!r}"
        goal = drawn(value, env) if kind == "state" else frame(value)
    pictures = images(name, goal, size, advice=WAYS)
    z = encode(pictures.reshape(-1, *pictures.shape[-3:]))
    return z.clone() if pictures.ndim == 4 else z[0].clone()


def drawn(state: Any, env: Any) -> np.ndarray:
    """Pictures of states (n,) or (B, n) in the world that the environment, or the first of several, is now in.

    Raises:
        BadValue: the environment cannot draw, or not these.
    """
    task = getattr(env, "unwrapped", env)
    task = getattr(getattr(task, "envs", [task])[0], "unwrapped", task)
    if not hasattr(task, "draw"):
        got = "no environment was given to the agent" if env is None else f"{type(task).__name__} has no draw(state)"
        raise BadValue(f"goal 'state': {got}; give an image or a frame of a dataset instead")
    try:
        states = np.asarray(state, np.float64)
    except (TypeError, ValueError):
        raise BadValue(f"goal 'state': expected numbers (n,) or (B, n), got {state!r}") from None
    count = getattr(task, "state_dim", states.shape[-1] if states.ndim else 0)
    if states.ndim not in (1, 2) or states.shape[-1] != count or not states.size or not np.isfinite(states).all():
        raise BadValue(f"goal 'state': expected {count} finite numbers, or (B, {count}), got shape {states.shape}")
    return np.asarray(task.draw(states) if states.ndim == 1 else np.stack([task.draw(one) for one in states]))


def frame(place: Any) -> np.ndarray:
    """Read a picture (S, S, 3) of a dataset: ``(store, row)`` or ``(store, episode, step)``.

    Raises:
        BadValue: no such place.
    """
    known = isinstance(place, tuple) and len(place) in (2, 3) and hasattr(place[0], "offsets")
    if not known or not all(isinstance(number, Integral) for number in place[1:]):
        raise BadValue(f"goal 'frame': expected (store, row) or (store, episode, step), got {place!r}")
    store, row = place[0], place[1]
    if len(place) == 3:
        episode, step = place[1:]
        if not 0 <= episode < len(store.offsets) or not 0 <= step < store.lengths[episode]:
            raise BadValue(f"goal 'frame': the dataset has no step {step} of an episode {episode}")
        row = store.offsets[episode] + step
    return np.asarray(store.read("pixels", int(row), int(row) + 1)[0])


def _latents(value: Any, width: int) -> Tensor:
    try:
        z = torch.as_tensor(value, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise BadValue(f"goal 'latent': expected numbers ({width},) or (B, {width}), got {value!r}") from None
    if z.ndim not in (1, 2) or z.shape[-1] != width or not len(z) or not z.isfinite().all():
        raise BadValue(f"goal 'latent': expected ({width},) or (B, {width}) finite numbers, got shape {tuple(z.shape)}")
    return z
