"""Any environment that Gymnasium can make: pictures from ``render()``, goals from data.

Nothing is asked of the environment but pictures and determinism: it returns to a recorded row by resetting with the
episode's seed and playing the recorded actions again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium import error, spaces

from worldmodel.envs import gl
from worldmodel.envs.goal_task import GoalTask
from worldmodel.envs.task import Array, Task
from worldmodel.errors import BadValue

TOLERANCE = 0.25  # standard deviations
_LARGEST = 1024  # numbers in an observation that still count as a state
_RESET_OPTIONS = ("seed", "actions", "goal", "goal_state", "scale")


def make_task(name: str, **options: Any) -> Any:
    """Make ``gym/<name>``: a user's own `GoalTask` as it is, anything else as a `GymTask`.

    Args:
        name: Gymnasium id, or ``module:id`` to import the module that registers it first.
        options: as for `GymTask`.

    Raises:
        BadValue: no such environment, something it needs is missing, no pictures, or actions that cannot be planned.
    """
    gl.choose()
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws into memory; without a screen it complains
    if ":" in name and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # installed commands do not look there
    try:
        inner = gymnasium.make(name, render_mode="rgb_array", max_episode_steps=-1, disable_env_checker=True)
    except Exception as unknown:  # its constructor raises whatever it likes
        raise BadValue(f"gym/{name} cannot be made: {unknown}") from unknown
    if isinstance(inner.unwrapped, GoalTask):
        inner.close()
        return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **options).unwrapped
    return GymTask(inner, name, **options)


class GymTask(Task):
    """A Gymnasium environment with the observations of a task: ``{"pixels", "goal"}``, or ``{"state", "goal"}``.

    The state is the environment's own observation, flattened; it tells where the environment is, not all that it needs
    to go on. A goal is a recorded row: its picture and its state. It is reached when every number of the state is
    within a quarter of its standard deviation in the dataset. Actions are a Box (a,) float32; n discrete ones are a Box
    [0, 1]^n, of which the largest is taken.

    Args:
        inner: the environment, made with ``render_mode="rgb_array"``.
        name: its id.
        options: as for `Task`; pictures are resized to (S, S), whatever their shape, and there is one look of them.
    """

    restorable = False
    hard_label = "goal > 1 sd away"

    def __init__(self, inner: Any, name: str, **options: Any) -> None:
        super().__init__(**options)
        if "rgb_array" not in inner.unwrapped.metadata.get("render_modes", ()):
            raise BadValue(f"gym/{name} draws no pictures: it has no render mode 'rgb_array'")
        self._inner, self._name = inner, name
        self.action_space = _action_space(inner.action_space, name)
        flat = spaces.flatten_space(inner.observation_space)
        self.state_dim = flat.shape[0] if isinstance(flat, spaces.Box) and flat.shape[0] <= _LARGEST else 0
        self.state_names = tuple(f"observation_{i}" for i in range(self.state_dim))
        seen = self.observe_numbers(self.state_dim)
        self._goal, self.scale = np.zeros(seen.shape, seen.dtype), np.ones(self.state_dim)
        self.goal_state: Array | None = None

    def calibrate(self, states: Array) -> None:
        """Measure distances in the standard deviations of a dataset's states (N, state_dim)."""
        self.scale = states.std(axis=0)

    def distance(self, state: Array, goal: Array) -> float:
        """Largest difference between two states, in standard deviations."""
        return float(np.max(np.abs(state - goal) / np.maximum(self.scale, 1e-9), initial=0.0))

    def success(self, state: Array, goal: Array) -> bool:
        """Whether every number is within a quarter of its standard deviation."""
        return self.state_dim > 0 and self.distance(state, goal) < TOLERANCE

    def accomplished(self, state: Array, goal: Array) -> bool:
        """The same."""
        return self.success(state, goal)

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether some number must change by more than its standard deviation."""
        return self.distance(start, goal) > 1.0

    def in_view(self, state: Array) -> bool:
        """Whether the state can be a start or a goal: always."""
        return True

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start an episode, or return to a recorded row.

        Args:
            seed: of the episode.
            options: ``seed`` and ``actions`` (t, a) lead to the recorded row; ``goal`` (S, S, 3) and ``goal_state`` are
                the goal, ``scale`` the standard deviations. Everything else is for the environment. Without a goal its
                picture is black and nothing is a success.
        """
        options = dict(options or {})
        ours = {key: options.pop(key) for key in _RESET_OPTIONS if key in options}
        super().reset(seed=seed)
        self.goal_state = np.asarray(ours["goal_state"], np.float64) if "goal_state" in ours else None
        self.scale = np.asarray(ours.get("scale", self.scale), np.float64)
        goal = self.goal_state if self.observation == "state" else ours.get("goal")
        self._goal = np.zeros_like(self._goal) if goal is None else np.asarray(goal, self._goal.dtype)
        seen, _ = self._inner.reset(seed=ours.get("seed", seed), options=options or None)
        for action in ours.get("actions", ()):
            seen = self._inner.step(self._native(self.clipped(action)))[0]
        return self._observe(seen), self._info(seen)

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Apply one action; values outside the action space are clipped."""
        seen, reward, terminated, truncated, _ = self._inner.step(self._native(self.clipped(action)))
        info = self._info(seen)
        over = bool(terminated) or (info["success"] and self.terminate_on_success)
        return self._observe(seen), float(reward), over, bool(truncated), info

    def render(self) -> Array | None:
        """Return the picture of the present state, or None without a render mode."""
        return self._picture() if self.render_mode else None

    def close(self) -> None:
        """Close the environment."""
        self._inner.close()

    def _native(self, action: Any) -> Any:
        """Turn an action of ours into one of the environment's."""
        native = self._inner.action_space
        if isinstance(native, spaces.Discrete):
            return int(native.start) + int(np.argmax(action))
        return np.asarray(action).astype(native.dtype).reshape(native.shape)

    def _state(self, seen: Any) -> Array:
        if not self.state_dim:
            return np.empty(0)
        return np.asarray(spaces.flatten(self._inner.observation_space, seen), np.float64)

    def _observe(self, seen: Any) -> dict[str, Array]:
        now = self._state(seen) if self.observation == "state" else self._picture()
        return {self.observation: now, "goal": self._goal.copy()}

    def _info(self, seen: Any) -> dict[str, Any]:
        state, goal = self._state(seen), self.goal_state
        if goal is None:
            return {"success": False, "state": state}
        success, distance = self.success(state, goal), self.distance(state, goal)
        return {"success": success, "state": state, "goal_state": goal.copy(), "distance": distance}

    def _picture(self) -> Array:
        try:
            picture = np.asarray(self._inner.render())
        except error.DependencyNotInstalled as missing:
            raise BadValue(f"gym/{self._name} cannot be drawn: {missing}") from missing
        if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
            raise BadValue(f"gym/{self._name} draws {picture.dtype} {picture.shape}, expected uint8 (height, width, 3)")
        return cv2.resize(picture, (self.image_size, self.image_size), interpolation=cv2.INTER_AREA)


def _action_space(native: Any, name: str) -> spaces.Box:
    if isinstance(native, spaces.Discrete):
        return spaces.Box(0.0, 1.0, (int(native.n),), np.float32)
    if not isinstance(native, spaces.Box):
        raise BadValue(f"gym/{name} has actions {native}, expected a Box or Discrete space")
    if not native.is_bounded():
        raise BadValue(f"gym/{name} has unbounded actions {native}: wrap it in gymnasium's RescaleAction or clip them")
    low, high = (np.asarray(bound, np.float32).reshape(-1) for bound in (native.low, native.high))
    return spaces.Box(low, high, dtype=np.float32)
