"""What an agent is shown: pictures out of the observations of Gymnasium's and Stable-Baselines3's environments.

Shapes: B environments, S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from worldmodel.errors import BadValue

PIXELS = ("pixels", "observation")  # ours and AddRenderObservation's, then the name in goal environments
GOALS = ("goal", "desired_goal")
ADVICE = (
    "make the environment with worldmodel.envs.registry.make, or wrap it in gymnasium.wrappers.AddRenderObservation"
)


class Seen(NamedTuple):
    """What several environments show."""

    pixels: np.ndarray  # (B, S, S, 3) uint8
    goal: np.ndarray | None  # the same; None where the observation has none, or it was not asked for
    single: bool  # it is the observation of one environment, without the first axis


def read(observation: Any, size: int, goal: bool = True) -> Seen:
    """Find and check the pictures of an observation.

    Args:
        observation: an image, or a mapping with one under a name of ``PIXELS`` and, perhaps, a goal's under one of
            ``GOALS``. Images are as ``images`` says.
        size: S.
        goal: whether to look for the goal's.

    Raises:
        BadValue: something else.
    """
    if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], Mapping):
        raise BadValue("observation: got the pair that reset returns, take its first: observation, info = env.reset()")
    shown: Mapping[str, Any] = observation if isinstance(observation, Mapping) else {PIXELS[0]: observation}
    name, goal_name = _first(PIXELS, shown), _first(GOALS, shown) if goal else None
    if name is None:
        raise BadValue(f"observation: expected a picture named 'pixels' or 'observation', got {[*shown]}; {ADVICE}")
    called = f"observation {name!r}" if shown is observation else "observation"
    pixels = images(called, shown[name], size)
    wanted = None if goal_name is None else images(f"observation {goal_name!r}", shown[goal_name], size)
    if wanted is not None and pixels.shape != wanted.shape:
        raise BadValue(f"observation: {name!r} {pixels.shape} and {goal_name!r} {wanted.shape} differ in shape")
    if pixels.ndim == 3:
        return Seen(pixels[None], None if wanted is None else wanted[None], True)
    return Seen(pixels, wanted, False)


def images(name: str, value: Any, size: int, advice: str = ADVICE) -> np.ndarray:
    """Check an image, uint8 (S, S, 3) or (3, S, S), or several, (B, ...); return them with the colours last.

    Args:
        name: how the message begins.
        value: what was given.
        size: S.
        advice: what to do where it is no picture at all.

    Raises:
        BadValue: another shape, type or range.
    """
    try:
        image = np.asarray(value)
    except ValueError:  # of rows that differ in length
        image = np.empty(0, object)
    if image.ndim < 3:
        raise BadValue(f"{name}: expected a picture, got {_kind(value, image)}; {advice}")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise BadValue(f"{name}: has NaN or infinite numbers, expected uint8 0..255")
    if image.dtype != np.uint8:
        raise BadValue(f"{name}: expected a picture of uint8 0..255, got {_kind(value, image)}")
    if image.shape[-3:] == (3, size, size):  # as Stable-Baselines3 turns them
        image = np.moveaxis(image, -3, -1)
    if image.ndim > 4 or image.shape[-3:] != (size, size, 3) or not len(image):
        advice = f"; gymnasium.wrappers.ResizeObservation(env, ({size}, {size})) changes it"
        raise BadValue(
            f"{name}: expected uint8 ({size}, {size}, 3) or (B, {size}, {size}, 3), the size the model was trained on, "
            f"got {image.shape}{advice if image.shape[-1] == 3 else ''}"
        )
    return image


def _kind(value: Any, image: np.ndarray) -> str:
    return f"{image.dtype} {image.shape}" if image.dtype.kind in "biuf" and image.ndim else type(value).__name__


def _first(names: Sequence[str], shown: Mapping[str, Any]) -> str | None:
    return next((name for name in names if name in shown), None)
