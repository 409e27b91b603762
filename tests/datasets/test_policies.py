"""Behaviours: they act within bounds, do what they are for, and depend on the generator only."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from worldmodel.datasets import pushing
from worldmodel.datasets.policies import BEHAVIOURS, Smooth, ThroughTheDoor, Uniform, Weak, behaviours, mixture
from worldmodel.envs import pusht, registry
from worldmodel.errors import UnknownName

ALL = [(name, kind) for name in registry.TASKS for kind in (*BEHAVIOURS[name], Uniform, Smooth)]
EPISODES, STEPS, OFFSET = 5, 200, 25
WORLDS = [{}, *({"block.shape": shape, "block.scale": 1.2, "agent.radius": 19} for shape in (1, 2, 3))]


@functools.cache
def played(name: str, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """States (E, 201, S) and actions (E, 200, 2)."""
    task, behaviour = registry.make(name, image_size=8, terminate_on_success=False).unwrapped, kind()
    states, actions = [], []
    for seed in range(EPISODES):
        task.reset(seed=seed)
        behaviour.reset(task, np.random.default_rng(seed))
        states.append([task.get_state()])
        actions.append([])
        for _ in range(STEPS):
            actions[-1].append(behaviour.act(task))
            states[-1].append(task.step(actions[-1][-1])[4]["state"])
    return np.array(states), np.array(actions)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_actions_are_in_bounds_and_repeatable(name: str, kind: type) -> None:
    _, actions = played(name, kind)
    assert actions.dtype == np.float32 and actions.shape == (EPISODES, STEPS, 2) and np.abs(actions).max() <= 1
    env, behaviour = registry.make(name, image_size=8), kind()  # wrapped, as the collector has it
    env.reset(seed=2)
    behaviour.reset(env, np.random.default_rng(2))
    for expected in actions[2, :50]:
        action = behaviour.act(env)
        assert np.array_equal(action, expected)
        env.step(action)
    assert not np.array_equal(actions[0], actions[1])


@pytest.mark.parametrize("kind", BEHAVIOURS["pusht"])
def test_pusht_windows_are_worth_learning_from(kind: type) -> None:
    states, _ = played("pusht", kind)
    gaps = np.linalg.norm(states[:, OFFSET:, 2:4] - states[:, :-OFFSET, 2:4], axis=-1)
    moved = gaps > 20
    task = pusht.PushT()
    in_view = np.array([[task.in_view(state) for state in episode] for episode in states])
    assert 0.35 < moved.mean() < 0.85
    assert 20 < np.median(gaps[moved]) < 110
    assert in_view.mean() > 0.9


def test_pushers_have_the_pace_of_the_published_demonstrations() -> None:
    """Actions with a standard deviation of 0.20, the agent with one of 75 px/s, along either axis."""
    episodes = [played("pusht", kind) for kind in (pushing.Pusher, pushing.GoalPusher)]
    actions = np.concatenate([actions for _, actions in episodes])
    speeds = np.concatenate([np.diff(states[..., :2], axis=1) for states, _ in episodes]) / 0.1  # px/s
    assert (actions.std((0, 1)) > 0.17).all() and (actions.std((0, 1)) < 0.24).all()
    assert (speeds.std((0, 1)) > 65).all() and (speeds.std((0, 1)) < 88).all()


@pytest.mark.parametrize("kind", [pushing.Pusher, pushing.GoalPusher])
def test_pushers_go_round_the_block_without_touching_it(kind: type) -> None:
    task, behaviour = registry.make("pusht", image_size=8).unwrapped, kind()
    touched = []
    for seed in range(3):
        task.reset(seed=seed)
        behaviour.reset(task, np.random.default_rng(seed))
        for _ in range(150):
            before, action = task.get_state(), behaviour.act(task)
            after = task.step(action)[4]["state"]
            if behaviour.way:
                touched.append(np.linalg.norm(after[2:4] - before[2:4]) > 1.0)
    assert len(touched) > 100 and np.mean(touched) < 0.2  # it steps back from where the last push ended


def test_goal_pusher_reaches_poses() -> None:
    task, behaviour = registry.make("pusht", image_size=8, terminate_on_success=False).unwrapped, pushing.GoalPusher()
    behaviour.stroll = 0.0
    reached = 0
    for seed in range(5):
        task.reset(seed=seed)
        behaviour.reset(task, np.random.default_rng(seed))
        behaviour.tries, pose, steps = 1000, behaviour.pose, 0
        while behaviour.pose is pose and steps < 300:  # a new one is taken when this one is reached
            task.step(behaviour.act(task))
            steps += 1
        reached += behaviour.pose is not pose
    assert reached >= 3


@pytest.mark.parametrize("world", WORLDS)
def test_predicted_twist_is_the_physical_one(world: dict) -> None:
    """A short push along the normal moves and turns the block as `twists` says."""
    task, rng = registry.make("pusht", image_size=8).unwrapped, np.random.default_rng(0)
    task.vary(world, rng)
    block, checked = task.block, 0
    for share in rng.uniform(size=30):
        start = np.array([0, 0, 256, 256, rng.uniform(0, 6), 0, 0, 0, 0, 0])
        point, normal = (array[0] for array in pushing.outline_points(block, start, np.array([share])))
        start[:2] = point - (task.agent_radius + 0.01) * normal
        if block.clearance(start, start[:2]) < task.agent_radius:  # an inner corner: two contacts
            continue
        after = task.advance(start, 0.15 * normal)
        pushed = float((after[:2] - start[:2]) @ normal)
        shift = block.centre(after) - block.centre(start)
        turn = (after[4] - start[4] + np.pi) % (2 * np.pi) - np.pi
        expected = pushing.twists(block, start, point[None], normal[None])[0] * pushed
        assert np.linalg.norm(np.append(shift, turn * block.radius_of_gyration) - expected) < 0.35 * pushed
        checked += 1
    assert checked > 15


@pytest.mark.parametrize("world", WORLDS)
def test_routes_keep_off_the_block(world: dict) -> None:
    rng = np.random.default_rng(0)
    task = registry.make("pusht", image_size=8).unwrapped
    task.vary(world, rng)
    found = 0
    for _ in range(20):
        state, goals = task.sample(rng), list(rng.uniform(*task.room, (4, 2)))
        for goal, way in zip(goals, pushing.routes(task, state, goals)):
            if way is None or task.block.clearance(state, state[:2]) < task.agent_radius + pushing.KEEP_OFF:
                continue
            found += 1
            assert np.array_equal(way[-1], goal)
            stops = np.array([state[:2], *way])
            points = np.concatenate([np.linspace(a, b, 100) for a, b in zip(stops[:-1], stops[1:])])
            assert task.block.clearance(state, points).min() > task.agent_radius
    assert found > 50
    inside = task.block.centre(state)
    assert pushing.routes(task, state, [inside]) == [None] and pushing.routes(task, state, []) == []


def test_weak_targets_stay_around_the_block() -> None:
    states, actions = played("pusht", Weak)
    targets = states[:, :-1, :2] + 100 * actions
    far = np.abs(targets - states[:, :-1, 2:4]).max(-1) > 101
    assert far[:, 20:].mean() < 0.1  # only while coming from elsewhere, or when the block is beside a wall


def test_two_room_crosses_the_wall() -> None:
    states, _ = played("two-room", ThroughTheDoor)
    left = states[:, :, 0] < 112
    assert (left[:, OFFSET:] != left[:, :-OFFSET]).mean() > 0.3


def test_mixture_draws_by_weight() -> None:
    rng = np.random.default_rng(0)
    for name, kinds in BEHAVIOURS.items():
        assert sum(kinds.values()) == pytest.approx(1.0)
        assert len({kind.name for kind in kinds}) == len(kinds)
        drawn = [type(mixture(name, rng)) for _ in range(400)]
        for kind, weight in kinds.items():
            assert drawn.count(kind) / 400 == pytest.approx(weight, abs=0.08)
    for name in (*registry.names(), "gym/Pendulum-v1"):
        assert behaviours(name)
    assert behaviours("dmc/reacher-qpos") == {Uniform: 1.0} and len(behaviours("dmc/cheetah-run")) == 2
    with pytest.raises(UnknownName, match="did you mean 'pusht'"):
        mixture("push", rng)


def test_smooth_actions_last_and_are_spread_evenly() -> None:
    task, behaviour = registry.make("two-room", image_size=8), Smooth()
    episodes = []
    for seed in range(40):
        behaviour.reset(task, np.random.default_rng(seed))
        episodes.append([behaviour.act(task) for _ in range(STEPS)])
    actions = np.array(episodes)
    lasting = [np.corrcoef(episode[:-1, 0], episode[1:, 0])[0, 1] for episode in actions]
    assert np.mean(lasting) > 0.7 and min(lasting) > 0.2
    quarters = np.histogram(actions, bins=4, range=(-1, 1))[0] / actions.size
    assert np.abs(quarters - 0.25).max() < 0.04
