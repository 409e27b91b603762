"""OGBench's behaviours: they finish what they are for, and leave no trace in the states but their actions'."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.collect import collect
from worldmodel.datasets.ogbench_policies import Expert, Guide, Noisy, Paint, Play
from worldmodel.datasets.policies import Smooth, behaviours
from worldmodel.datasets.verify import verify
from worldmodel.envs import registry

pytest.importorskip("ogbench", reason="needs the extra mujoco")

STEPS = 200
QUICK = [("pointmaze-medium", Guide), ("cube-single", Play), ("cube-single", Noisy), ("cube-single", Expert)]
REST = [("powderworld-easy", Paint), ("powderworld-hard", Paint), ("pointmaze-teleport", Guide)]
REST += [(name, kind) for name in ("cube-quadruple", "puzzle-3x3", "scene") for kind in (Play, Noisy)]
EACH = [*QUICK, *(pytest.param(*pair, marks=pytest.mark.every_id) for pair in REST)]


@functools.cache
def make(name: str) -> Any:
    return registry.make(f"ogbench/{name}", observation="state", terminate_on_success=False).unwrapped


@functools.cache
def played(name: str, kind: type) -> tuple[np.ndarray, np.ndarray, Any]:
    """States (T + 1, s) and actions (T, a) of an episode, and the behaviour at its end."""
    task, behaviour = make(name), kind()
    states, actions = [task.reset(seed=3)[1]["state"]], []
    behaviour.reset(task, np.random.default_rng(3))
    for _ in range(STEPS):
        actions.append(behaviour.act(task))
        states.append(task.step(actions[-1])[4]["state"])
    return np.array(states), np.array(actions), behaviour


@pytest.mark.parametrize(("name", "kind"), EACH)
def test_the_rows_replay(name: str, kind: type) -> None:
    states, actions, _ = played(name, kind)
    task = make(name)
    assert actions.dtype == np.float32 and all(task.action_space.contains(action) for action in actions)
    task.reset(seed=8)
    for first in (0, STEPS // 2):
        task.set_state(states[first])
        for row in range(first, first + 60):
            np.testing.assert_array_equal(task.step(actions[row])[4]["state"], states[row + 1])


@pytest.mark.parametrize(("name", "kind"), EACH)
def test_chance_comes_from_the_generator_only(name: str, kind: type) -> None:
    states, actions, _ = played(name, kind)
    env, behaviour = registry.make(f"ogbench/{name}", observation="state"), kind()  # wrapped, as the collector has it
    np.testing.assert_array_equal(env.reset(seed=3)[1]["state"], states[0])
    behaviour.reset(env, np.random.default_rng(3))
    np.random.seed(0)  # noqa: NPY002  the global one, which OGBench would draw from
    for row in range(40):
        np.testing.assert_array_equal(behaviour.act(env), actions[row])
        np.testing.assert_array_equal(env.step(actions[row])[4]["state"], states[row + 1])
    behaviour.reset(env, np.random.default_rng(4))
    assert not np.array_equal(behaviour.act(env), actions[40])


@pytest.mark.parametrize("kind", [Play, Noisy, Expert])
def test_cubes_are_carried(kind: type) -> None:
    states, _, behaviour = played("cube-single", kind)
    task = make("cube-single")
    far = [task.distance(states[row], states[row + 25]) > 0.04 for row in range(0, STEPS - 25, 5)]
    assert behaviour.finished >= 1 and np.mean(far) > 0.3
    assert np.mean([task.in_view(state) for state in states]) > 0.95


def test_the_guide_goes_through_the_maze() -> None:
    states, _, behaviour = played("pointmaze-medium", Guide)
    task = make("pointmaze-medium")
    cells = {task.inner.xy_to_ij(task.where(state)) for state in states}
    assert behaviour.reached >= 1 and len(cells) >= 6
    assert all(task.in_view(state) for state in states)


@pytest.mark.every_id
def test_painting_takes_three_steps_a_stroke() -> None:
    states, actions, _ = played("powderworld-easy", Paint)
    worlds = states[:, : 32 * 32]
    changed = (worlds[1:] != worlds[:-1]).any(1)
    assert changed[2::3].mean() > 0.5 and not changed[0::3].any() and not changed[1::3].any()
    assert 0.45 < actions.mean() < 0.55  # uniform numbers in another order


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ogbench/cube-octuple", {Expert, Play, Noisy}),
        ("ogbench/scene", {Play, Noisy}),
        ("ogbench/puzzle-4x6", {Play, Noisy}),
        ("ogbench/pointmaze-giant", {Guide}),
        ("ogbench/powderworld-easy", {Paint}),
        ("ogbench/antmaze-medium", {Smooth}),
        ("ogbench/antsoccer-arena", {Smooth}),
    ],
)
def test_who_behaves_where(name: str, kinds: set[type]) -> None:
    assert set(behaviours(name)) == kinds


def test_a_dataset(tmp_path: Path) -> None:
    path = collect("ogbench/pointmaze-medium", tmp_path / "a.h5", 3, 30, workers=1, image_size=32)
    with verify(path) as store:
        assert store.attrs["policies"] == {"guide": 3} and store.attrs["render_preset"] == "fast"
        task = registry.make(store.env, image_size=32).unwrapped
        state, picture = store.read("state", 40, 41)[0], store.read("pixels", 40, 41)[0]
        np.testing.assert_array_equal(task.draw(state), picture)
