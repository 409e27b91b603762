"""The DM-Control suite: all of it, exactly as it is, with goals that are poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.envs import registry
from worldmodel.errors import BadValue, UnknownName

suite = pytest.importorskip("dm_control.suite", reason="needs dm_control and mujoco")

from tests.envs.drawing import skip_unless_it_draws  # noqa: E402
from worldmodel.envs.dmc import DMC  # noqa: E402

NAMES = [name.removeprefix("dmc/") for name in registry.names() if name.startswith("dmc/")]
# One of every kind: RK4, a free body, contacts and force sensors, a target in the model, random gains, a random model.
QUICK = (
    "acrobot-swingup", "fish-swim", "humanoid-run", "manipulator-insert_peg", "point_mass-hard", "lqr-lqr_2_1",
    "reacher-qpos",
)  # fmt: skip
every_name = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.every_id) for name in NAMES]
)


def make(name: str) -> DMC:
    return DMC(name, observation="state", terminate_on_success=False)


def draws(task: DMC, count: int, seed: int = 0) -> list[np.ndarray]:
    """Actions."""
    space, rng = task.action_space, np.random.default_rng(seed)
    return [rng.uniform(space.low, space.high) for _ in range(count)]


def model_of(task: DMC) -> dict[str, bytes]:
    """Every array of the compiled model."""
    names = [name for name in dir(task.model) if isinstance(getattr(task.model, name, None), np.ndarray)]
    assert len(names) > 100
    return {name: getattr(task.model, name).tobytes() for name in names}


def with_a_past(name: str) -> DMC:
    """A task that has been in other episodes."""
    task = make(name)
    task.sample(np.random.default_rng(99))
    for action in draws(task, 3, seed=9):
        task.simulate(action)
    return task


def test_the_whole_suite_is_there() -> None:
    assert {"-".join(pair) for pair in suite.ALL_TASKS} | {"reacher-qpos"} == set(NAMES)
    with pytest.raises(UnknownName, match="did you mean 'walker-walk'"):
        DMC("walker-wlk")


@every_name
def test_an_episode_depends_on_its_seed_only(name: str) -> None:
    """The same seed gives the same initial state and the same model, whatever came before."""
    first, second = make(name), with_a_past(name)
    for seed in range(3):
        assert np.array_equal(first.sample(np.random.default_rng(seed)), second.sample(np.random.default_rng(seed)))
        assert model_of(first) == model_of(second)
        second.sample(np.random.default_rng(seed + 50))


@every_name
def test_observations_and_rewards_are_the_suites(name: str) -> None:
    pair = ("reacher", "easy") if name == "reacher-qpos" else tuple(name.split("-"))
    task, env = make(name), suite.load(*pair, task_kwargs={"random": 0})
    start, goal = (task.sample(np.random.default_rng(seed)) for seed in (1, 2))
    env.task._random = np.random.RandomState(int(start[task._physics_dim]))
    theirs = env.reset()
    ours, _ = task.reset(options={"state": start, "goal_state": goal})
    for action in [*draws(task, 30), None]:
        assert np.array_equal(ours["state"], np.concatenate([np.ravel(seen) for seen in theirs.observation.values()]))
        if action is not None:
            theirs, (ours, reward, *_) = env.step(action), task.step(action)
            assert reward == theirs.reward or name == "reacher-qpos"


@every_name
def test_going_on_from_the_middle_of_an_episode(name: str) -> None:
    """In a task with another past: the same states, observations, rewards and model, to the last bit."""
    task, other = make(name), with_a_past(name)
    start = task.sample(np.random.default_rng(4))
    goal, actions = task.sample_goal(start, np.random.default_rng(5)), draws(task, 40)
    assert goal[task._physics_dim] == start[task._physics_dim] and not task.success(start, goal)
    task.reset(options={"state": start, "goal_state": goal})
    steps = [task.step(action) for action in actions]
    other.set_goal(goal)
    for begin in (25, 3):
        other.set_state(steps[begin][4]["state"])
        assert np.array_equal(other.features(other.get_state()), steps[begin][0]["state"])
        assert other.reward(other.get_state()) == steps[begin][1]
        for action, (obs, reward, _, _, info) in zip(actions[begin + 1 :], steps[begin + 1 :]):
            again = other.step(action)
            assert np.array_equal(again[4]["state"], info["state"]) and again[4]["distance"] == info["distance"]
            assert np.array_equal(again[0]["state"], obs["state"]) and again[1] == reward
        assert model_of(other) == model_of(task)


@every_name
def test_pictures_show_the_state_in_its_own_scene(name: str) -> None:
    """Another task, which has drawn another scene before, draws the same picture, and it is not blank."""
    skip_unless_it_draws(f"dmc/{name}")
    task, other = DMC(name), DMC(name)
    here, there = (task.sample(np.random.default_rng(seed)) for seed in (0, 1))
    other.draw(there)
    picture = task.draw(here)
    assert np.array_equal(picture, other.draw(here)) and picture.std() > 3
    assert not np.array_equal(picture, other.draw(there)) or name in ("cartpole-swingup", "cartpole-swingup_sparse")


@pytest.mark.every_id
def test_terrain_is_drawn_as_it_is_now() -> None:
    skip_unless_it_draws("dmc/quadruped-escape")
    task = DMC("quadruped-escape")
    task.camera = 0
    state, elsewhere = (task.sample(np.random.default_rng(seed)) for seed in (0, 1))
    flat = state.copy()
    flat[task._physics_dim] = elsewhere[task._physics_dim]  # the same pose on another terrain
    assert not np.array_equal(task.draw(state), task.draw(flat))


def test_reacher_qpos_is_reached_by_its_joints() -> None:
    task = make("reacher-qpos")
    goal = task.sample(np.random.default_rng(0))
    for shift, distance in (((0.04, -0.03), 0.04), ((2 * np.pi - 0.04, 0.0), 0.04), ((0.0, 0.06), 0.06), ((3, 0), 3.0)):
        state = goal.copy()
        state[1:3] += shift
        assert task.distance(state, goal) == pytest.approx(distance)
        assert task.success(state, goal) is (distance < 0.05)
        assert task.hard(state, goal) is (distance > 0.25)
    task.reset(seed=1)
    _, reward, _, _, info = task.step(task.action_space.sample())
    assert reward == -info["distance"]


def test_reacher_qpos_hides_its_target() -> None:
    skip_unless_it_draws("dmc/reacher-qpos")
    hidden, shown = DMC("reacher-qpos"), DMC("reacher-easy")
    state, other = (hidden.sample(np.random.default_rng(seed)) for seed in (0, 1))
    moved = state.copy()
    moved[hidden._physics_dim] = other[hidden._physics_dim]  # the same pose, the target elsewhere
    assert np.array_equal(hidden.draw(state), hidden.draw(moved))
    assert not np.array_equal(shown.draw(state), shown.draw(moved))


def moved(task: DMC, joint: str, change: Any) -> float:
    """Distance, in tolerances, to where a joint has another position."""
    state = task.sample(np.random.default_rng(3))
    goal, at = state.copy(), 1 + task.model.jnt_qposadr[task.model.joint(joint).id]
    goal[at : at + len(change)] = change if len(change) == 4 else state[at : at + len(change)] + change
    return task.distance(state, goal) / task.angle_tolerance


def test_how_far_a_followed_body_has_travelled_does_not_count() -> None:
    walker = make("walker-walk")
    assert moved(walker, "rootx", [5.0]) == 0
    assert moved(walker, "rootz", [0.1]) == pytest.approx(2)
    assert moved(walker, "left_knee", [0.1]) == pytest.approx(1)
    assert moved(make("cartpole-balance"), "slider", [0.1]) == pytest.approx(2)
    fetch = make("quadruped-fetch")
    assert moved(fetch, "root", [0.0, 0.0, 0.2]) == pytest.approx(2)
    assert moved(fetch, "root", [0.2, 0.0, 0.0]) == moved(fetch, "ball_root", [-0.2, 0.0, 0.0]) == pytest.approx(2)


def test_rotations() -> None:
    task = make("fish-upright")
    state = task.sample(np.random.default_rng(3))
    goal = state.copy()
    w, x, y, z = state[4:8]
    for angle in (0.3, 2.0, np.pi):  # about the world's vertical
        c, s = np.cos(angle / 2), np.sin(angle / 2)
        goal[4:8] = [c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w]
        assert task.distance(state, goal) == pytest.approx(angle)
        goal[4:8] *= -1  # the same rotation
        assert task.distance(state, goal) == pytest.approx(angle)
    ball = make("manipulator-bring_ball")  # a ball looks the same however it is turned
    assert moved(ball, "ball_y", [1.0]) == 0 and moved(ball, "ball_x", [0.02]) == pytest.approx(1)


@pytest.mark.parametrize("name", ["cartpole-swingup", "cartpole-balance", "pendulum-swingup"])
def test_goals_differ_from_the_start_where_initial_states_are_all_alike(name: str) -> None:
    task = make(name)
    for seed in range(5):
        info = task.reset(seed=seed)[1]
        assert not info["success"]
        assert np.array_equal(info["goal_state"], make(name).reset(seed=seed)[1]["goal_state"])


def test_actions_have_bounds() -> None:
    assert make("quadruped-walk").action_space.high.max() == np.float32(1.1)
    lqr = make("lqr-lqr_6_2").action_space
    assert lqr.low.tolist() == [-10, -10] and lqr.high.tolist() == [10, 10]


@pytest.mark.parametrize("seed", [-1.0, 0.5, 2.0**32])
def test_a_seed_that_is_none_is_refused(seed: float) -> None:
    task = make("reacher-easy")
    state = task.sample(np.random.default_rng(0))
    state[task._physics_dim] = seed
    with pytest.raises(BadValue, match="whole number from 0"):
        task.advance(state, np.zeros(2))


def test_episodes_are_collected_and_played_back(tmp_path: Path) -> None:
    skip_unless_it_draws("dmc/reacher-qpos")
    from worldmodel.benchmarks.evaluate import floors_and_ceiling
    from worldmodel.benchmarks.pairs import sample_pairs
    from worldmodel.datasets.collect import collect
    from worldmodel.datasets.store import EpisodeStore

    path = collect("dmc/reacher-qpos", tmp_path / "a.h5", 10, 60, workers=1, image_size=32)
    with EpisodeStore(path) as store:
        assert store.env == "dmc/reacher-qpos" and store.attrs["render_preset"] == "fast"
        pairs = sample_pairs(store, make("reacher-qpos"), 25, 8, seed=0, split="train")
    outcomes = floors_and_ceiling("dmc/reacher-qpos", pairs, 50, seed=0)
    assert outcomes["replay"].rate == 1.0 > outcomes["noop"].rate
