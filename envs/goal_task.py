"""What the goal-reaching tasks share: a state vector, pictures of it and of a goal, and the Gymnasium interface.

A task adds its dynamics as a pure function of (state, action), so whatever follows depends on the state vector only: a
state that was read can be set again and every action replays to the last bit, from any point of an episode. The world
around it is the same in every episode, unless `reset` is asked to vary it (envs/factors.py).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from worldmodel.envs.factors import changed, resolve
from worldmodel.envs.task import Array, Task
from worldmodel.errors import BadValue, UnknownName

TRIES = 16  # places tried, at most, to find one that is far enough


class GoalTask(Task):
    """A task whose every state can be read, set and drawn.

    Observations are ``{"pixels", "goal"}``, pictures (S, S, 3) uint8, or ``{"state", "goal"}``, the numbers of
    `features`, for which nothing is drawn. ``info`` has ``success``, ``state``, ``goal_state`` and ``distance``;
    that of `reset` also ``variation``, where the task has `factors`.

    Attributes:
        action_space: Box (a,) float32; [-1, 1]^2 unless the task says otherwise before this class is initialised.
        goal_state: (state_dim,) float64.
        factors: what of the world can be varied, by name.
        variation: value of every factor now, float64, not to be written to.
        varied: whether these are not just the defaults.
        takes_turns: whether going from one `episode` to another is much quicker than making another task.
        unseen: whether `step` need not draw, as nobody will look at the picture: it is black then. `reset` draws.
    """

    restorable = True
    reset_options: ClassVar[tuple[str, ...]] = ("state", "goal_state", "variation")
    colour_factor: ClassVar[str] = ""  # which of the factors is the colour of what moves; none by default
    action_space: spaces.Box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    takes_turns = True
    unseen = False
    _goal_image: Array | None
    _goal_features: Array | None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.action_space = copy(self.action_space)  # with a generator of its own
        rng = np.random.default_rng(0)  # of a place to be until `reset` is called
        self.vary(None, rng)
        self.set_state(self.sample(rng))
        self.set_goal(self.sample(rng))
        self.observe_numbers(len(self.features(self._state)))

    # What a task is.

    @abstractmethod
    def advance(self, state: Array, action: Array) -> Array:
        """Return the state one step later, a pure function in one world.

        Args:
            state: (state_dim,) float64.
            action: (a,) float64 within the action space.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a state at rest that can be a start or a goal."""

    @abstractmethod
    def draw(self, state: Array) -> Array:
        """Return the picture of any state, (S, S, 3) uint8; a pure function in one world."""

    @abstractmethod
    def distance(self, state: Array, goal: Array) -> float:
        """Return how far the state is from the goal, 0 when there."""

    @abstractmethod
    def success(self, state: Array, goal: Array) -> bool:
        """Whether the state counts as the goal, by the published rule."""

    @abstractmethod
    def hard(self, start: Array, goal: Array) -> bool:
        """Whether the pair is of the kind named by ``hard_label``."""

    @abstractmethod
    def in_view(self, state: Array) -> bool:
        """Whether the state is usable as a start or a goal: everything in the picture and out of the walls."""

    # What a task may have of its own.

    def accomplished(self, state: Array, goal: Array) -> bool:
        """Whether what the task is about is as in the goal; `success` by default."""
        return self.success(state, goal)

    def shortfall(self, state: Array, goal: Array) -> float:
        """Return how far the state is from being `accomplished`, 0 when it is as in the goal; `distance` by default."""
        return self.distance(state, goal)

    def features(self, state: Array) -> Array:
        """Return what ``observation="state"`` shows of a state; all of it by default."""
        return state.copy()

    def columns(self, states: Array) -> dict[str, Array]:
        """Return what a dataset keeps of states (T, state_dim) besides, under the names that other programs read."""
        return {}

    def calibrate(self, states: Array) -> None:
        """Take from a dataset's states (N, state_dim) what distances are measured by: nothing by default."""

    def reward(self, state: Array) -> float:
        """Return the reward on arriving at a state; minus the distance to the goal by default."""
        return -self.distance(state, self.goal_state)

    def prepare(self, options: dict[str, Any]) -> dict[str, Any]:
        """Turn options of `reset` that are the task's own into ``state`` and ``goal_state``; none by default."""
        return options

    def sample_goal(self, state: Array, rng: np.random.Generator) -> Array:
        """Draw a goal that the state does not solve."""
        goal = self.sample(rng)
        while self.success(state, goal):
            goal = self.sample(rng)
        return goal

    def teleport(self, state: Array, rng: np.random.Generator) -> Array:
        """Draw a state of the same world that no action leads to: a goal so far away that the pair is `hard`.

        Where chance does not find one, it is the farthest goal that was tried.
        """
        places = []
        for _ in range(TRIES):
            places.append(self.sample_goal(state, rng))
            if self.hard(state, places[-1]):
                return places[-1]
        return max(places, key=lambda place: self.distance(state, place))

    def recoloured(self, rng: np.random.Generator) -> dict[str, Array]:
        """Return values for `vary` that change nothing but the colour of what moves, for one that can be told from it.

        Raises:
            BadValue: the task does not say which factor that is.
        """
        if not self.colour_factor:
            raise BadValue(f"{type(self).__name__} has no colour_factor: its colours cannot change")
        return {**self.variation, self.colour_factor: changed(self.factors, self.variation, self.colour_factor, rng)}

    def build_world(self) -> None:
        """Derive what the other functions use from `variation`, which has changed."""

    # State, goal and world.

    def get_state(self) -> Array:
        """Return a copy of the state, (state_dim,) float64; `set_state` on it continues exactly from there."""
        return self._state.copy()

    def set_state(self, state: Any) -> None:
        """Put the task into a state. Raises BadValue for a wrong shape or a number that is not finite."""
        self._state = self._checked("state", state)

    def set_goal(self, state: Any) -> None:
        """Set the goal. Raises BadValue for a wrong shape or a number that is not finite."""
        self.goal_state = self._checked("goal_state", state)
        self._goal_image = self._goal_features = None

    @property
    def episode(self) -> tuple[Any, ...]:
        """What differs between episodes of the same world; whoever sets it goes on with that episode.

        A task that keeps more of an episode than its state and goal adds it.
        """
        return self._state, self.goal_state, self._goal_image, self._goal_features

    @episode.setter
    def episode(self, episode: tuple[Any, ...]) -> None:
        self._state, self.goal_state, self._goal_image, self._goal_features = episode

    @property
    def goal_image(self) -> Array:
        """Picture of the goal, (S, S, 3) uint8, drawn when it is first asked for."""
        if self._goal_image is None:
            self._goal_image = self.draw(self.goal_state)
        return self._goal_image

    @property
    def goal_features(self) -> Array:
        """What ``observation="state"`` shows of the goal, computed when it is first asked for."""
        if self._goal_features is None:
            self._goal_features = self.features(self.goal_state)
        return self._goal_features

    def vary(self, request: Any, rng: np.random.Generator) -> None:
        """Change the world, not the state. ``request`` and errors are those of `resolve`; None undoes every change."""
        self.variation, self.varied = resolve(self.factors, request, rng), request is not None
        self.build_world()
        self._goal_image = self._goal_features = None

    # Gymnasium.

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of what is drawn; the variation takes no numbers from those that start and goal are drawn by.
            options: ``state`` and ``goal_state``, drawn at random where missing, and ``variation`` (see `resolve`),
                without which the world is the unvaried one.
        """
        super().reset(seed=seed)
        for name in options or {}:
            if name not in self.reset_options:
                raise UnknownName("reset option", name, self.reset_options)
        self.unseen, options = False, dict(options or {})
        variation = options.get("variation")
        if variation is not None or self.varied:
            self.vary(variation, self.np_random.spawn(1)[0])
        options = self.prepare(options)
        state, goal = options.get("state"), options.get("goal_state")
        self.set_state(self.sample(self.np_random) if state is None else state)
        self.set_goal(self.sample_goal(self._state, self.np_random) if goal is None else goal)
        info = self._info()
        if self.factors:
            info["variation"] = {name: value.copy() for name, value in self.variation.items()}
        return self._observe(), info

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Apply one action; values outside the action space are clipped."""
        self._state = self.advance(self._state, self.clipped(action))
        info = self._info()
        terminated = info["success"] and self.terminate_on_success
        return self._observe(), self.reward(self._state), terminated, False, info

    def render(self) -> Array | None:
        """Return the picture of the present state, or None without a render mode."""
        return self.draw(self._state) if self.render_mode else None

    def _observe(self) -> dict[str, Array]:
        if self.observation == "state":
            return {"state": self.features(self._state), "goal": self.goal_features.copy()}
        picture = np.zeros_like(self.goal_image) if self.unseen else self.draw(self._state)
        return {"pixels": picture, "goal": self.goal_image.copy()}

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
            of = f" ({', '.join(self.state_names)})" if self.state_dim <= 12 else ""
            raise BadValue(f"{name} must be {self.state_dim} finite numbers{of}")
        return array
