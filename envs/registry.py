"""The environments there are. A new one is one file and one line here; the contract suite in tests/ then covers it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from worldmodel.errors import BadValue, UnknownName

TASKS: dict[str, str] = {
    "pusht": "worldmodel.envs.pusht:PushT",
    "two-room": "worldmodel.envs.two_room:TwoRoom",
}
TIME_LIMIT = 200  # environment steps


def gym_id(name: str) -> str:
    """Return the Gymnasium id of a task, such as ``worldmodel/PushT-v0``, given its short name or the id itself.

    Raises:
        UnknownName: no such environment.
    """
    ids = {short: f"worldmodel/{entry.partition(':')[2]}-v0" for short, entry in TASKS.items()}
    if name not in ids and name not in ids.values():
        raise UnknownName("environment", name, ids)
    return ids.get(name, name)


def task_class(name: str) -> Any:
    """Import a task: a `worldmodel.envs.goal_task.GoalTask`, by short name or Gymnasium id.

    Raises:
        UnknownName: no such environment.
    """
    entry = next(entry for short, entry in TASKS.items() if gym_id(short) == gym_id(name))
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)


def make(name: str, *, max_episode_steps: int = TIME_LIMIT, **options: Any) -> Any:
    """Make a task as ``gymnasium.make`` does, with its time limit; the task itself is ``env.unwrapped``.

    Args:
        name: short name, such as ``"pusht"``, or Gymnasium id.
        max_episode_steps: steps after which an episode is truncated.
        options: arguments of the task, such as ``image_size=64`` and ``terminate_on_success=True``.

    Raises:
        UnknownName: no such environment.
        BadValue: an option out of range.
    """
    identifier = gym_id(name)
    if max_episode_steps < 1:
        raise BadValue(f"max_episode_steps: expected at least 1, got {max_episode_steps}")
    import gymnasium

    register()
    return gymnasium.make(identifier, max_episode_steps=max_episode_steps, disable_env_checker=True, **options)


def register() -> None:
    """Make the Gymnasium ids known, once. Gymnasium calls it by itself where the package is installed."""
    from gymnasium.envs import registration  # importing gymnasium calls this function: not at the top

    for name, entry in TASKS.items():
        if gym_id(name) not in registration.registry:
            registration.register(gym_id(name), entry_point=entry, max_episode_steps=TIME_LIMIT)
