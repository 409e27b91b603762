"""What the goal-reaching tasks share: a state vector, pictures of it and of a goal, and the Gymnasium interface.

A task adds its dynamics as a pure function of (state, action), so whatever follows depends on the state vector only: a
state that was read can be set again and every action replays to the last bit, from any point of an episode.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from worldmodel.errors import BadValue, UnknownName

Array = np.ndarray
_RESET_OPTIONS = ("state", "goal_state")


class GoalTask(gymnasium.Env[dict[str, Array], Array]):
    """A task with observations ``{"pixels", "goal"}``, both (S, S, 3) uint8, and actions (2,) float32 in [-1, 1].

    The reward is minus the distance to the goal; ``info`` has ``success``, ``state``, ``goal_state`` and ``distance``.

    Args:
        image_size: S, side of the pictures, pixels.
        terminate_on_success: end the episode in the first successful state.
        render_mode: ``"rgb_array"``, or None.

    Attributes:
        goal_state: (state_dim,) float64.
        goal_image: picture of it, (S, S, 3) uint8.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
    state_names: ClassVar[tuple[str, ...]]
    state_dim: ClassVar[int]
    hard_label: ClassVar[str]  # what `hard` says, in words

    def __init__(
        self, image_size: int = 64, terminate_on_success: bool = True, render_mode: str | None = "rgb_array"
    ) -> None:
        if image_size < 8:
            raise BadValue(f"image_size: expected at least 8 pixels, got {image_size}")
        if render_mode not in (None, "rgb_array"):
            raise UnknownName("render mode", str(render_mode), ["rgb_array"])
        self.image_size = image_size
        self.terminate_on_success = terminate_on_success
        self.render_mode = render_mode
        picture = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict({"pixels": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        rng = np.random.default_rng(0)  # a place to be until `reset` is called
        self.set_state(self.sample(rng))
        self.set_goal(self.sample(rng))

    # What a task is.

    @abstractmethod
    def advance(self, state: Array, action: Array) -> Array:
        """Return the state one step later; a pure function. ``action`` is (2,) float64 within [-1, 1]."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a state at rest that can be a start or a goal."""

    @abstractmethod
    def draw(self, state: Array) -> Array:
        """Return the picture of any state, (S, S, 3) uint8; a pure function."""

    @staticmethod
    @abstractmethod
    def distance(state: Array, goal: Array) -> float:
        """Return how far the state is from the goal, 0 when there."""

    @staticmethod
    @abstractmethod
    def success(state: Array, goal: Array) -> bool:
        """Whether the state counts as the goal, by the published rule."""

    @staticmethod
    @abstractmethod
    def hard(start: Array, goal: Array) -> bool:
        """Whether the pair is of the kind named by ``hard_label``."""

    @staticmethod
    @abstractmethod
    def in_view(state: Array) -> bool:
        """Whether the state is usable as a start or a goal: everything in the picture and out of the walls."""

    # State and goal.

    def get_state(self) -> Array:
        """Return a copy of the state, (state_dim,) float64; `set_state` on it continues exactly from there."""
        return self._state.copy()

    def set_state(self, state: Any) -> None:
        """Put the task into a state. Raises BadValue for a wrong shape or a number that is not finite."""
        self._state = self._checked("state", state)

    def set_goal(self, state: Any) -> None:
        """Set the goal and its picture. Raises BadValue for a wrong shape or a number that is not finite."""
        self.goal_state = self._checked("goal_state", state)
        self.goal_image = self.draw(self.goal_state)

    # Gymnasium.

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start an episode; ``options`` may hold ``state`` and ``goal_state``, what is missing is drawn at random."""
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in _RESET_OPTIONS:
                raise UnknownName("reset option", name, _RESET_OPTIONS)
        state, goal = options.get("state"), options.get("goal_state")
        self.set_state(self.sample(self.np_random) if state is None else state)
        if goal is None:
            goal = self.sample(self.np_random)
            while self.success(self._state, goal):
                goal = self.sample(self.np_random)
        self.set_goal(goal)
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Apply one action; values outside [-1, 1] are clipped."""
        action = np.asarray(action, np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise BadValue(f"action must be 2 finite numbers, not {action!r}")
        self._state = self.advance(self._state, np.clip(action, -1.0, 1.0))
        info = self._info()
        return self._observe(), -info["distance"], info["success"] and self.terminate_on_success, False, info

    def render(self) -> Array | None:
        """Return the picture of the present state, or None without a render mode."""
        return self.draw(self._state) if self.render_mode else None

    def _observe(self) -> dict[str, Array]:
        return {"pixels": self.draw(self._state), "goal": self.goal_image.copy()}

    def _info(self) -> dict[str, Any]:
        return {
            "success": self.success(self._state, self.goal_state),
            "state": self._state.copy(),
            "goal_state": self.goal_state.copy(),
            "distance": self.distance(self._state, self.goal_state),
        }

    def _checked(self, name: str, state: Any) -> Array:
        try:
            array = np.array(state, np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (self.state_dim,) or not np.isfinite(array).all():
            raise BadValue(f"{name} must be {self.state_dim} finite numbers ({', '.join(self.state_names)})")
        return array
