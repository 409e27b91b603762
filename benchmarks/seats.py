"""Many episodes side by side in one environment, which is put into the state of each in turn.

Making the simulator of a robot arm, and what draws it, takes more than a second; setting its state, about half a
millisecond. What follows from a state depends on nothing else (envs/goal_task.py), so the episodes are the same to the
last bit.
"""

from __future__ import annotations

from typing import Any

import gymnasium

from worldmodel.envs import registry


def seats(task: str, count: int, apart: bool, **options: Any) -> list[Any]:
    """Make what so many episodes are played in at a time, each as an environment of its own.

    Args:
        task: name of the environment.
        count: episodes at a time.
        apart: whether each needs an environment: in worlds that differ, or where a state cannot be set.
        options: arguments of ``registry.make``.
    """
    made = [registry.make(task, **options) for _ in range(count if apart else min(count, 1))]
    if all(getattr(env.unwrapped, "takes_turns", False) for env in made):
        return made if apart else [Seat(env.unwrapped) for env in made for _ in range(count)]
    return made + [registry.make(task, **options) for _ in range(count - len(made))]


class Seat(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of several episodes in a task.

    Args:
        task: that all of them share; without the wrappers that count steps.
    """

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.task, self.episode = task, None

    def reset(self, **options: Any) -> Any:
        """Begin this episode."""
        found = self.env.reset(**options)
        self.episode = self.task.episode
        return found

    def step(self, action: Any) -> Any:
        """Go on with this episode."""
        self.task.episode = self.episode
        found = self.env.step(action)
        self.episode = self.task.episode
        return found
