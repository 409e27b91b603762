"""OGBench's tasks step as OGBench's own environments do, to the last bit, and judge as they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldmodel.envs import registry
from worldmodel.errors import BadValue

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("ogbench")
mujoco = pytest.importorskip("mujoco")

from worldmodel.envs.ogbench import chance, make_inner  # noqa: E402

NAMES = [name.removeprefix("ogbench/") for name in registry.names() if name.startswith("ogbench/")]
QUICK = ("pointmaze-medium", "cube-single")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.every_id) for name in NAMES]
ARMS = ("cube", "puzzle", "scene")


def make(name: str, **options: Any) -> Any:
    return registry.make(f"ogbench/{name}", **{"observation": "state"} | options).unwrapped


def moves(task: Any, count: int, seed: int = 0) -> np.ndarray:
    """Random actions that last a few steps, so that they lead somewhere."""
    space, rng = task.action_space, np.random.default_rng(seed)
    return np.repeat(rng.uniform(space.low, space.high, (count // 5, *space.shape)), 5, axis=0).astype(np.float32)


def play(task: Any, actions: np.ndarray) -> np.ndarray:
    return np.array([task.step(action)[4]["state"] for action in actions])


def oracle_play(task: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """States (T, s) after, and actions (T, a) of, the scripted behaviour of an arm, or random ones of anything else."""
    if not hasattr(task, "new_target"):
        actions = moves(task, steps)
        return play(task, actions), actions
    from worldmodel.datasets.ogbench_policies import Play

    behaviour, states, actions = Play(), [], []
    behaviour.reset(task, np.random.default_rng(0))
    for _ in range(steps):
        actions.append(behaviour.act(task))
        states.append(task.step(actions[-1])[4]["state"])
    return np.array(states), np.array(actions)


def test_every_environment_of_ogbench_is_in_the_table() -> None:
    theirs = {id for id, spec in gymnasium.registry.items() if str(spec.entry_point).startswith("ogbench.")}
    plain = {id.removesuffix("-v0") for id in theirs if "singletask" not in id and not id.startswith("visual-")}
    assert plain == set(NAMES)


@pytest.mark.parametrize("name", EACH)
def test_a_state_continues_in_another_task_with_another_past(name: str) -> None:
    task, other = make(name), make(name)
    task.reset(seed=1)
    other.reset(seed=2)
    play(other, moves(other, 10, 5))
    _, actions = oracle_play(task, 60)
    task.reset(seed=1)
    states = play(task, actions)
    for middle in (10, 33, 58):
        other.set_state(states[middle])
        features = other.features(other.get_state())
        np.testing.assert_array_equal(features, make_features(task, states[middle]))
        np.testing.assert_array_equal(play(other, actions[middle + 1 :]), states[middle + 1 :])


def make_features(task: Any, state: np.ndarray) -> np.ndarray:
    task.set_state(state)
    return task.features(state)


@pytest.mark.parametrize("name", [each for each in EACH if not each.values[0].startswith("powder")])
def test_steps_and_judges_as_ogbench(name: str) -> None:
    """OGBench's own environment, put into the start of a rollout, goes through the same states and successes."""
    task, theirs = make(name, terminate_on_success=False), make_inner(name, terminate_at_goal=False)
    theirs.reset(options={"task_id": 1})
    start = task.reset(seed=3)[1]["state"]
    states, actions = oracle_play(task, 100)
    goal = states[-20]
    put(theirs, task, start)
    aim(theirs, task, goal)
    verdicts = []
    for state, action in zip(states, actions):
        with chance(int(start[-1]) if "teleport" in name else 0):
            seen, _, _, _, info = theirs.step(action.astype(np.float64))
        size = task.model.nq
        if "teleport" not in name:
            np.testing.assert_array_equal(theirs.data.qpos, state[1 : 1 + size])
            np.testing.assert_array_equal(seen, task.features(state))
            assert bool(info["success"]) == task.success(state, goal)
        verdicts.append(bool(info["success"]))
    assert any(verdicts)


def put(theirs: Any, task: Any, state: np.ndarray) -> None:
    """Put OGBench's environment into a state of ours."""
    size = mujoco.mj_stateSize(theirs.model, mujoco.mjtState.mjSTATE_INTEGRATION)
    if hasattr(theirs, "_cur_button_states"):
        theirs._cur_button_states = task.buttons(state).astype(int)
        theirs._apply_button_states()
    mujoco.mj_setState(theirs.model, theirs.data, state[:size], mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(theirs.model, theirs.data)


def aim(theirs: Any, task: Any, goal: np.ndarray) -> None:
    """Make a state the goal of OGBench's environment."""
    if hasattr(theirs, "cur_goal_xy"):
        theirs.set_goal(goal_xy=task.where(goal))
        return
    for i, address in enumerate(task._cubes):
        theirs.data.mocap_pos[theirs._cube_target_mocap_ids[i]] = task.qpos(goal)[address : address + 3]
    if hasattr(theirs, "_cur_button_states"):
        theirs._target_button_states = task.buttons(goal).astype(int)
    if hasattr(theirs, "_target_drawer_pos"):
        theirs._target_drawer_pos, theirs._target_window_pos = (
            task.qpos(goal)[task.model.joint(joint).qposadr[0]] for joint in ("drawer_slide", "window_slide")
        )
