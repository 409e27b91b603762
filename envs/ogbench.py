"""OGBench (arXiv 2410.20092): mazes, robot manipulation and powderworld as tasks; needs the extra ``mujoco``.

The environments are OGBench's own, made without its datasets; nothing is downloaded and no physics is ours. What
differs: start and goal are random unless ``reset`` is asked for an official task, chance is drawn from the state or the
seed and never from NumPy's global generator, and a goal is never in the picture.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
import ogbench  # noqa: F401  registers the environments

from worldmodel.envs.goal_task import GoalTask
from worldmodel.envs.mujoco_task import MuJoCoTask
from worldmodel.envs.task import Array
from worldmodel.errors import BadValue

# What a name begins with -> the task, which takes the whole name as its first argument.
TASKS = {
    "antmaze": "worldmodel.envs.ogbench_mazes:Maze",
    "antsoccer": "worldmodel.envs.ogbench_mazes:Soccer",
    "cube": "worldmodel.envs.ogbench_manipulation:Cube",
    "humanoidmaze": "worldmodel.envs.ogbench_mazes:Maze",
    "pointmaze": "worldmodel.envs.ogbench_mazes:Maze",
    "powderworld": "worldmodel.envs.powderworld:Powderworld",
    "puzzle": "worldmodel.envs.ogbench_manipulation:Puzzle",
    "scene": "worldmodel.envs.ogbench_manipulation:Scene",
}


def make_task(name: str, **options: Any) -> GoalTask:
    """Make ``ogbench/<name>``, such as ``"cube-single"``; ``options`` are those of every `GoalTask`."""
    module, _, attribute = TASKS[name.partition("-")[0]].partition(":")
    return getattr(import_module(module), attribute)(name, **options)


class OfficialTasks(GoalTask):
    """A task with OGBench's five official pairs of start and goal: ``reset(options={"task_id": 1})`` to 5.

    Without ``task_id`` start and goal are drawn as OGBench's data collection draws its starts. The reward is OGBench's:
    1 on success and 0 else.

    Attributes:
        name: such as ``"cube-single"``.
        inner: OGBench's environment, unwrapped.
    """

    reset_options = (*GoalTask.reset_options, "task_id")
    name: str
    inner: Any

    @property
    def official_steps(self) -> int:
        """OGBench's time limit, environment steps."""
        return int(gymnasium.spec(f"{self.name}-v0").max_episode_steps or 0)

    @abstractmethod
    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw start and goal of one of OGBench's ``task_infos``; a goal is exactly where OGBench wants it."""

    def prepare(self, options: dict[str, Any]) -> dict[str, Any]:
        """Turn ``task_id`` into a start and a goal.

        Raises:
            BadValue: no such task.
        """
        if "task_id" not in options:
            return options
        number, count = options["task_id"], len(self.inner.task_infos)
        if number not in range(1, count + 1):
            raise BadValue(f"task_id: expected 1 to {count}, got {number!r}")
        start, goal = self.official(self.inner.task_infos[number - 1], self.np_random)
        return {"state": start, "goal_state": goal} | options

    def reward(self, state: Array) -> float:
        """Return 1 at the goal, else 0."""
        return float(self.success(state, self.goal_state))


class SimulatedTask(OfficialTasks, MuJoCoTask):
    """One that OGBench simulates with MuJoCo."""

    @property
    def model(self) -> Any:
        """The compiled ``mujoco.MjModel``."""
        return self.inner.model

    @property
    def data(self) -> Any:
        """The ``mujoco.MjData``."""
        return self.inner.data


def make_inner(name: str, **options: Any) -> Any:
    """Make OGBench's environment without wrappers."""
    return gymnasium.make(f"{name}-v0", max_episode_steps=-1, disable_env_checker=True, **options).unwrapped


@contextmanager
def chance(seed: int) -> Iterator[None]:
    """Let NumPy's global generator, which OGBench draws from, start at a seed, and be as it was afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def next_chance() -> float:
    """Return the seed of the next step, within `chance`; as a float it is part of a state."""
    return float(np.random.randint(2**31))  # noqa: NPY002
