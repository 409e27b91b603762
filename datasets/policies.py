"""Behaviour policies that need no download; one is drawn for each episode, and its name is recorded.

A behaviour has a ``name``, ``reset(env, rng)`` and ``act(env)`` -> (a,) float32 within the action space; those of a
task of ours look at its state, ``env.unwrapped.get_state()``.
"""

from __future__ import annotations

from math import erf, sqrt
from typing import Any, Protocol

import numpy as np

from worldmodel.datasets.ogbench_policies import Expert, Guide, Noisy, Paint, Play
from worldmodel.datasets.pushing import GoalPusher, Pusher
from worldmodel.envs import pusht, two_room
from worldmodel.envs.registry import slow_to_draw
from worldmodel.errors import UnknownName

Array = np.ndarray


class Behaviour(Protocol):
    """What acts in one episode after another."""

    name: str

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode in an environment that was just reset; ``rng`` is the only source of chance."""

    def act(self, env: Any) -> Array:
        """Return the action to take now, (a,) float32."""


class Weak:
    """PushT: random targets around the block, as stable-worldmodel's weak policy: uniform, within 100 px of it.

    Here they also keep away from the walls, where the block would be squeezed out of the picture.
    """

    name = "weak"
    reach = 100.0  # px
    inside = (82.0, 429.0)  # px; by this much, 99 % of the frames are in view instead of 88 %

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng = rng

    def act(self, env: Any) -> Array:
        """Return the next action."""
        state = env.unwrapped.get_state()
        target = state[:2] + pusht.REACH * self.rng.uniform(-1.0, 1.0, 2)
        target = np.clip(target, state[2:4] - self.reach, state[2:4] + self.reach).clip(*self.inside)
        return np.clip((target - state[:2]) / pusht.REACH, -1.0, 1.0).astype(np.float32)


class ThroughTheDoor:
    """TwoRoom: walk to a random place, through the door if need be, with noise; then to another."""

    name = "door"
    other_room = 0.6  # share of places behind the wall
    repeat = 0.05  # chance of taking the last action again
    noise = 0.4  # standard deviation, of actions

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng = rng
        self.action: Array | None = None
        self._aim(env.unwrapped)

    def act(self, env: Any) -> Array:
        """Return the next action."""
        task, state = env.unwrapped, env.unwrapped.get_state()
        if np.linalg.norm(self.target - state) < task.speed:
            self._aim(task)
        if self.action is None or self.rng.uniform() > self.repeat:
            heading = self._waypoint(task, state) - state
            heading /= max(float(np.linalg.norm(heading)), task.speed)
            noisy = heading + self.noise * self.rng.standard_normal(2)
            self.action = np.clip(noisy, -1.0, 1.0).astype(np.float32)
        return self.action.copy()

    def _aim(self, task: two_room.TwoRoom) -> None:
        across = self.rng.uniform() < self.other_room
        self.target = task.sample(self.rng)
        while task.hard(task.get_state(), self.target) != across:
            self.target = task.sample(self.rng)

    def _waypoint(self, task: two_room.TwoRoom, state: Array) -> Array:
        door = np.array([two_room.WALL, task.door])
        if task.hard(state, self.target) and np.linalg.norm(door - state) > 10.5:
            return door
        return self.target


class Uniform:
    """Any task: every action uniform within the bounds, as LeWM's data for Reacher."""

    name = "uniform"

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng, self.space = rng, env.action_space

    def act(self, env: Any) -> Array:
        """Return the next action."""
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class Smooth(Uniform):
    """Any task: random actions that last, for an episode at a pace of its own; what independent ones never reach.

    Each number is the uniform distribution's quantile of an AR(1) process, so on its own it is as uniform as `Uniform`.
    """

    name = "smooth"

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode; the actions' correlation lasts between 1 and 20 steps."""
        super().reset(env, rng)
        self.keep = float(np.exp(-1.0 / rng.uniform(1.0, 20.0)))
        self.noise = rng.standard_normal(self.space.shape)

    def act(self, env: Any) -> Array:
        """Return the next action."""
        fresh = self.rng.standard_normal(self.space.shape)
        self.noise = self.keep * self.noise + np.sqrt(1.0 - self.keep**2) * fresh
        share = 0.5 * (1.0 + np.array([erf(x / sqrt(2.0)) for x in self.noise]))
        return (self.space.low + share * (self.space.high - self.space.low)).astype(np.float32)


# Beginning of the environment's name -> behaviours and their weights; the longest beginning counts.
BEHAVIOURS: dict[str, dict[type[Behaviour], float]] = {
    "pusht": {Weak: 0.05, Pusher: 0.15, GoalPusher: 0.8},
    "two-room": {ThroughTheDoor: 1.0},
    "dmc/": {Uniform: 0.5, Smooth: 0.5},
    "dmc/reacher-qpos": {Uniform: 1.0},  # as LeWM
    "ogbench/": {Smooth: 1.0},
    "ogbench/cube-": {Expert: 0.7, Play: 0.15, Noisy: 0.15},
    "ogbench/pointmaze-": {Guide: 1.0},
    "ogbench/powderworld-": {Paint: 1.0},
    "ogbench/puzzle-": {Play: 0.5, Noisy: 0.5},
    "ogbench/scene": {Play: 0.5, Noisy: 0.5},
    "gym/": {Uniform: 0.5, Smooth: 0.5},
}


EPISODES, FEW_EPISODES = 1000, 200  # that are collected if nobody says otherwise; few of what is slow to draw


def usual_episodes(env_name: str) -> int:
    """Return how many episodes of an environment are collected if nobody says otherwise."""
    return FEW_EPISODES if slow_to_draw(env_name) else EPISODES


def behaviours(env_name: str) -> dict[type[Behaviour], float]:
    """Return the behaviours of an environment, by its short name, and their weights.

    Raises:
        UnknownName: there is none for this environment.
    """
    fitting = [beginning for beginning in BEHAVIOURS if env_name.startswith(beginning)]
    if not fitting:
        raise UnknownName("environment with behaviours", env_name, BEHAVIOURS)
    return BEHAVIOURS[max(fitting, key=len)]


def mixture(env_name: str, rng: np.random.Generator) -> Behaviour:
    """Draw the behaviour of one episode.

    Raises:
        UnknownName: there is none for this environment.
    """
    kinds = behaviours(env_name)
    return list(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]()
