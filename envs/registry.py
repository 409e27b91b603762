"""The environments there are. A new one is one file and one line here; the contract suite in tests/ then covers it.

Names: ``pusht`` and ``two-room`` are ours and need nothing but pip; ``dmc/<domain>-<task>`` is the DM-Control suite and
``ogbench/<env>`` OGBench (extra ``mujoco``); ``gym/<id>`` is any environment that Gymnasium can make, a user's own too.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from worldmodel.errors import BadValue, MissingExtra, UnknownName

TASKS: dict[str, str] = {
    "pusht": "worldmodel.envs.pusht:PushT",
    "two-room": "worldmodel.envs.two_room:TwoRoom",
}
# Name before the slash -> the task, which takes the name after it as its first argument.
FAMILIES: dict[str, str] = {
    "dmc": "worldmodel.envs.dmc:DMC",
    "ogbench": "worldmodel.envs.ogbench:make_task",
    "gym": "worldmodel.envs.gym_task:make_task",
}
_DMC = {
    "acrobot": "swingup swingup_sparse",
    "ball_in_cup": "catch",
    "cartpole": "balance balance_sparse swingup swingup_sparse three_poles two_poles",
    "cheetah": "run",
    "dog": "fetch run stand trot walk",
    "finger": "spin turn_easy turn_hard",
    "fish": "swim upright",
    "hopper": "hop stand",
    "humanoid": "run run_pure_state stand walk",
    "humanoid_CMU": "run stand walk",
    "lqr": "lqr_2_1 lqr_6_2",
    "manipulator": "bring_ball bring_peg insert_ball insert_peg",
    "pendulum": "swingup",
    "point_mass": "easy hard",
    "quadruped": "escape fetch run walk",
    "reacher": "easy hard qpos",
    "stacker": "stack_2 stack_4",
    "swimmer": "swimmer15 swimmer6",
    "walker": "run stand walk",
}
_OGBENCH = {
    "antmaze": "giant large medium teleport",
    "antsoccer": "arena medium",
    "cube": "single double triple quadruple octuple",
    "humanoidmaze": "giant large medium",  # OGBench 1.2.2 cannot make its "teleport": a material is missing
    "pointmaze": "giant large medium teleport",
    "powderworld": "easy hard medium",
    "puzzle": "3x3 4x4 4x5 4x6",
    "scene": "",
}
TIME_LIMIT = 200  # environment steps
_SLOW = ("ogbench/cube", "ogbench/puzzle", "ogbench/scene")  # their pictures of an arm cost 10 ms


def names() -> list[str]:
    """Every name that is known without importing anything: all but ``gym/<id>``."""
    suites = {"dmc": _DMC, "ogbench": _OGBENCH}
    return [*TASKS] + [
        f"{family}/{domain}{'-' * bool(task)}{task}"
        for family, table in suites.items()
        for domain, tasks in table.items()
        for task in tasks.split() or [""]
    ]


def slow_to_draw(name: str) -> bool:
    """Whether a task's pictures take so long that its datasets hold few episodes."""
    return name.startswith(_SLOW)


def short_name(name: str) -> str:
    """Return the name that commands and files use, such as ``pusht``, given that or a Gymnasium id of ours.

    Raises:
        UnknownName: no such environment. Whether a ``gym/<id>`` exists shows when it is made.
    """
    if name.startswith("gym/") and name != "gym/":
        return name
    short = {gym_id(known): known for known in names()}
    if name not in short and name not in short.values():
        summary = ", ".join(TASKS) + ", dmc/<domain>-<task>, ogbench/<env>, gym/<Gymnasium id>; wm-data envs lists all"
        raise UnknownName("environment", name, names(), summary)
    return short.get(name, name)


def gym_id(name: str) -> str:
    """Return the Gymnasium id of a short name: ``worldmodel/PushT-v0``, ``dmc/reacher-easy-v0``."""
    if name in TASKS:
        return f"worldmodel/{TASKS[name].partition(':')[2]}-v0"
    return f"worldmodel/{file_name(name)}" if name.startswith("gym/") else f"{name}-v0"


def file_name(name: str) -> str:
    """Return a short name as part of a file's: ``dmc/reacher-qpos`` -> ``dmc-reacher-qpos``."""
    return re.sub(r"[^\w.-]+", "-", name)


def make(name: str, *, max_episode_steps: int = TIME_LIMIT, **options: Any) -> Any:
    """Make a task as ``gymnasium.make`` does, with its time limit; the task itself is ``env.unwrapped``.

    Args:
        name: such as ``"pusht"``, ``"dmc/reacher-qpos"`` or ``"gym/Pendulum-v1"``, or a Gymnasium id of ours.
        max_episode_steps: steps after which an episode is truncated.
        options: arguments of the task, such as ``image_size=64`` and ``terminate_on_success=True``.

    Raises:
        UnknownName: no such environment.
        BadValue: an option out of range.
        MissingExtra: what the environment needs is not installed.
    """
    name = short_name(name)
    if max_episode_steps < 1:
        raise BadValue(f"max_episode_steps: expected at least 1, got {max_episode_steps}")
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

    entry, arguments = _entry(name)
    module, _, attribute = entry.partition(":")
    try:
        entry_point = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("mujoco", "dm_control", "ogbench"):
            raise
        raise MissingExtra(name, "mujoco") from error
    spec = EnvSpec(gym_id(name), entry_point, kwargs=arguments)
    return gymnasium.make(spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **options)


def register() -> None:
    """Make the Gymnasium ids known, once. Gymnasium calls it by itself where the package is installed."""
    from gymnasium.envs import registration  # importing gymnasium calls this function: not at the top

    for name in names():
        if gym_id(name) not in registration.registry:
            entry, arguments = _entry(name)
            registration.register(gym_id(name), entry, max_episode_steps=TIME_LIMIT, kwargs=arguments)


def _entry(name: str) -> tuple[str, dict[str, Any]]:
    """What makes a short name: ``module:attribute``, and its arguments."""
    if name in TASKS:
        return TASKS[name], {}
    family, _, rest = name.partition("/")
    return FAMILIES[family], {"name": rest}
