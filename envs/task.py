"""What every environment here is made with: the size and look of its pictures, and actions within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from worldmodel.envs.factors import Factor
from worldmodel.errors import BadValue, UnknownName

Array = np.ndarray


class Task(gymnasium.Env[dict[str, Array], Array]):
    """What every environment here is made with.

    Args:
        image_size: S, side of the pictures, pixels.
        terminate_on_success: end the episode in the first successful state.
        render_mode: ``"rgb_array"``, or None.
        observation: ``"pixels"`` or ``"state"``.
        render_preset: the look of the pictures, one of ``presets``.

    Raises:
        BadValue: too small or too large a picture.
        UnknownName: no such render mode, observation or preset.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
    presets: ClassVar[tuple[str, ...]] = ("fast",)
    restorable: ClassVar[bool]  # every state can be set and drawn
    hard_label: ClassVar[str]  # what `hard` says, in words
    state_names: tuple[str, ...]
    state_dim: int
    factors: Mapping[str, Factor] = {}  # what of the world can be varied, by name
    action_space: spaces.Box

    def __init__(
        self,
        image_size: int = 64,
        terminate_on_success: bool = True,
        render_mode: str | None = "rgb_array",
        observation: str = "pixels",
        render_preset: str = "fast",
    ) -> None:
        if not 8 <= image_size <= 4096:
            raise BadValue(f"image_size: expected 8 to 4096 pixels, got {image_size}")
        if render_mode not in (None, "rgb_array"):
            raise UnknownName("render mode", str(render_mode), ["rgb_array"])
        if observation not in ("pixels", "state"):
            raise UnknownName("observation", observation, ["pixels", "state"])
        if render_preset not in self.presets:
            raise UnknownName("render preset", render_preset, self.presets)
        self.image_size, self.terminate_on_success = image_size, terminate_on_success
        self.render_mode, self.observation, self.render_preset = render_mode, observation, render_preset

    def observe_numbers(self, count: int) -> spaces.Box:
        """Set the observation space, with so many numbers in a state that is shown; return that of each entry."""
        seen: spaces.Box = spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8)
        if self.observation == "state":
            seen = spaces.Box(-np.inf, np.inf, (count,), np.float64)
        self.observation_space = spaces.Dict({self.observation: seen, "goal": seen})  # type: ignore[assignment]
        return seen

    def clipped(self, action: Any) -> Array:
        """Return an action (a,) float64 within the action space. Raises BadValue if it is not a finite numbers."""
        space, action = self.action_space, np.asarray(action, np.float64)
        if action.shape != space.shape or not np.isfinite(action).all():
            raise BadValue(f"action must be {space.shape[0]} finite numbers, not {action!r}")
        return np.clip(action, space.low, space.high)
