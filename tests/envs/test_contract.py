"""What every task in the table must do. A new line in TASKS is tested by this file as it is."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.envs.drawing import skip_unless_it_draws
from worldmodel.envs import registry
from worldmodel.errors import BadValue, UnknownName

# One task of every kind of physics. What a task must be is tested of all, the others by .ci/run; how mistakes are
# answered is the same code in all, and tested of these.
QUICK = (*registry.TASKS, "dmc/reacher-qpos", "dmc/walker-walk", "ogbench/pointmaze-medium", "ogbench/cube-single")
some = pytest.mark.parametrize("name", QUICK)
every = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.every_id) for name in registry.names()]
)


@pytest.fixture(autouse=True)
def can_be_made(name: str) -> None:
    skip_unless_it_draws(name)


def actions(task, count: int, seed: int = 0) -> np.ndarray:
    low, high = task.action_space.low, task.action_space.high
    return np.random.default_rng(seed).uniform(low, high, (count, len(low))).astype(np.float32)


def zeros(task) -> np.ndarray:
    return np.zeros(task.action_space.shape, np.float32)


def play(task, moves: np.ndarray) -> list[np.ndarray]:
    return [task.step(move)[4]["state"] for move in moves]


def samples(task, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [task.sample(rng) for _ in range(count)]


def busy_states(task, count: int) -> list[np.ndarray]:
    """States in the midst of things: moving, touching, against walls."""
    states = []
    for seed in range(count):
        task.reset(seed=seed)
        states.append(play(task, actions(task, 30, seed))[-1])
    return states


@every
def test_gymnasium_accepts_it(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")  # some bounds are the suite's own
        check_env(registry.make(name).unwrapped)


@every
def test_stable_baselines_accepts_it(name: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="needs the extra sb3")
    checker.check_env(registry.make(name), warn=True)


@every
def test_spaces_and_names(name: str) -> None:
    task = registry.make(name, image_size=32).unwrapped
    space = task.action_space
    assert isinstance(space, gymnasium.spaces.Box) and space.is_bounded() and space.dtype == np.float32
    assert len(space.shape) == 1
    assert {key: box.shape for key, box in task.observation_space.items()} == dict.fromkeys(
        ("goal", "pixels"), (32, 32, 3)
    )
    assert len(task.state_names) == task.state_dim == len(task.get_state())
    assert task.hard_label


@some
def test_gymnasium_make_and_ours_make_the_same(name: str) -> None:
    registry.register()
    registry.register()  # a second time is nothing
    theirs, ours = gymnasium.make(registry.gym_id(name)), registry.make(name)
    assert theirs.spec.max_episode_steps == ours.spec.max_episode_steps == 200
    assert registry.short_name(registry.gym_id(name)) == registry.short_name(name) == name
    a, b = theirs.reset(seed=3)[0], ours.reset(seed=3)[0]
    assert type(theirs.unwrapped) is type(ours.unwrapped) and all(np.array_equal(a[key], b[key]) for key in a)


@some
def test_states_instead_of_pictures(name: str) -> None:
    task, pictures = registry.make(name, observation="state").unwrapped, registry.make(name).unwrapped
    obs, info = task.reset(seed=1)
    assert np.array_equal(info["state"], pictures.reset(seed=1)[1]["state"])
    assert obs.keys() == task.observation_space.spaces.keys() == {"state", "goal"} and obs in task.observation_space
    assert np.array_equal(obs["state"], task.features(info["state"]))
    assert np.array_equal(obs["goal"], task.features(info["goal_state"]))
    for move in actions(task, 5):
        obs, reward, *_, info = task.step(move)
        seen, same, *_, other = pictures.step(move)
        assert reward == same and np.array_equal(info["state"], other["state"]) and obs in task.observation_space
    with pytest.raises(UnknownName, match="observation"):
        registry.make(name, observation="stat")
    with pytest.raises(UnknownName, match="render preset"):
        registry.make(name, render_preset="fastest")


@some
def test_time_limit(name: str) -> None:
    env = registry.make(name, max_episode_steps=3, terminate_on_success=False, observation="state")
    env.reset(seed=0)
    assert [env.step(move)[2:4] for move in actions(env, 3)] == [(False, False), (False, False), (False, True)]


@every
def test_equal_seeds_equal_episodes(name: str) -> None:
    first, second = registry.make(name).unwrapped, registry.make(name).unwrapped
    for seed in (0, 7):
        a, b = first.reset(seed=seed), second.reset(seed=seed)
        for move in actions(first, 8 if name.startswith("ogbench/") else 20):  # the arm takes 40 ms a picture
            assert all(np.array_equal(a[0][key], b[0][key]) for key in a[0])
            assert np.array_equal(a[-1]["state"], b[-1]["state"])
            a, b = first.step(move), second.step(move)
            assert a[1:4] == b[1:4]
    assert not np.array_equal(first.reset(seed=1)[1]["state"], first.reset(seed=2)[1]["state"])


@every
def test_state_reads_back_to_the_last_bit(name: str) -> None:
    task, other = registry.make(name, observation="state").unwrapped, registry.make(name, observation="state").unwrapped
    for state in samples(task, 50) + busy_states(task, 10):
        other.set_state(state)
        assert np.array_equal(other.get_state(), state)
        state[:] = 0  # neither a view on what is inside ...
        other.get_state()[:] = 0
        assert other.get_state().any()


@every
def test_the_future_depends_on_the_state_only(name: str) -> None:
    """A state from the middle of an episode, set in a task with another past, replays to the last bit."""
    task, other = registry.make(name, observation="state").unwrapped, registry.make(name, observation="state").unwrapped
    other.reset(seed=99)
    for seed in range(5):
        task.reset(seed=seed)
        play(task, actions(task, 40, seed))
        middle, moves = task.get_state(), actions(task, 40, seed + 100)
        other.set_state(middle)
        assert np.array_equal(play(task, moves), play(other, moves))


@some
def test_replay_from_reset(name: str) -> None:
    task = registry.make(name, observation="state").unwrapped
    start, moves = task.reset(seed=4)[1]["state"], actions(task, 100)
    first = play(task, moves)
    task.reset(options={"state": start})
    assert np.array_equal(play(task, moves), first)


@every
def test_two_at_once_do_not_disturb_each_other(name: str) -> None:
    together = [registry.make(name, observation="state").unwrapped for _ in range(2)]
    for seed, task in enumerate(together):
        task.reset(seed=seed)
    mixed = [[task.step(move)[4]["state"] for task in together] for move in actions(together[0], 30)]
    for seed, task in enumerate(together):
        task.reset(seed=seed)
        assert np.array_equal(play(task, actions(task, 30)), [both[seed] for both in mixed])


@every
def test_episodes_that_take_turns_in_one_task_are_those_of_two(name: str) -> None:
    shared = registry.make(name, observation="state").unwrapped
    apart = [registry.make(name, observation="state").unwrapped for _ in range(2)]
    kept, moves = {}, [actions(shared, 20, seed) for seed in range(2)]
    for seed, task in enumerate(apart):
        shared.reset(seed=seed)
        kept[seed] = shared.episode
        task.reset(seed=seed)
    for step in range(20):
        for seed, task in enumerate(apart):
            shared.episode = kept[seed]
            ours, theirs = shared.step(moves[seed][step]), task.step(moves[seed][step])
            kept[seed] = shared.episode
            for part, same in ((ours[0], theirs[0]), (ours[4], theirs[4])):
                assert all(np.array_equal(part[key], same[key]) for key in part)
            assert ours[1] == theirs[1]


@some
def test_nobody_looks_at_a_picture_until_the_next_reset(name: str) -> None:
    task = registry.make(name).unwrapped
    task.reset(seed=0)
    task.unseen = True
    assert not task.step(zeros(task))[0]["pixels"].any()
    assert task.reset(seed=0)[0]["pixels"].any() and task.step(zeros(task))[0]["pixels"].any()


@every
def test_drawing_changes_nothing_and_depends_on_the_state_only(name: str) -> None:
    task = registry.make(name, image_size=48).unwrapped
    task.reset(seed=0)
    state, elsewhere = task.get_state(), task.sample(np.random.default_rng(5))
    before = task.render()
    picture = task.draw(elsewhere)
    task.set_goal(elsewhere)  # the goal is never in the picture
    assert before.dtype == np.uint8 and before.shape == (48, 48, 3)
    assert np.array_equal(task.get_state(), state) and np.array_equal(task.render(), before)
    task.set_state(elsewhere)
    assert np.array_equal(task.render(), picture) and not np.array_equal(picture, before)
    picture[:] = 0
    assert task.render().any()


@some
def test_pictures_are_the_same_scene_at_every_size(name: str) -> None:
    import cv2

    small, large = registry.make(name, image_size=64).unwrapped, registry.make(name, image_size=224).unwrapped
    for state in samples(small, 5):
        shrunk = cv2.resize(large.draw(state), (64, 64), interpolation=cv2.INTER_AREA).astype(float)
        # Of 255; in a picture full of hard edges, such as a maze from above, more of it is where an edge falls.
        assert np.abs(shrunk - small.draw(state)).mean() < (6.0 if name.startswith("ogbench/") else 2.0)


@every
def test_goals(name: str) -> None:
    task = registry.make(name).unwrapped
    for seed in range(20):
        obs, info = task.reset(seed=seed)
        goal = info["goal_state"]
        assert np.array_equal(obs["goal"], task.draw(goal)) and np.array_equal(task.goal_image, obs["goal"])
        assert np.array_equal(task.goal_state, goal)
        assert task.in_view(info["state"]) and task.in_view(goal)
        assert not info["success"] and info["distance"] > 0
        assert task.success(goal, goal) and task.distance(goal, goal) == 0 and not task.hard(goal, goal)


@some
def test_success_ends_the_episode_only_if_asked(name: str) -> None:
    for ends in (True, False):
        task = registry.make(name, terminate_on_success=ends, observation="state").unwrapped
        place = task.sample(np.random.default_rng(2))
        task.reset(seed=0, options={"state": place, "goal_state": place})
        _, reward, terminated, truncated, info = task.step(zeros(task))
        assert info["success"] and terminated is ends and not truncated
        assert reward == task.reward(info["state"]) and info["distance"] == task.distance(info["state"], place)


@some
def test_reset_options(name: str) -> None:
    task = registry.make(name).unwrapped
    state, goal = samples(task, 2)
    obs, info = task.reset(seed=0, options={"state": state, "goal_state": goal.tolist()})
    assert np.array_equal(info["state"], state) and np.array_equal(info["goal_state"], goal)
    assert np.array_equal(obs["pixels"], task.draw(state)) and np.array_equal(obs["goal"], task.draw(goal))
    with pytest.raises(UnknownName, match=r"'goal'.*did you mean 'goal_state'"):
        task.reset(options={"goal": goal})


@some
@pytest.mark.parametrize("wrong", ["shape", "nan", "text"])
def test_wrong_states_are_refused(name: str, wrong: str) -> None:
    task = registry.make(name, observation="state").unwrapped
    before = task.get_state()
    size = task.state_dim
    bad = {"shape": np.zeros(size + 1), "nan": np.full(size, np.nan), "text": ["a"] * size}[wrong]
    for put in (task.set_state, task.set_goal):
        with pytest.raises(BadValue, match=f"must be {size} finite numbers"):
            put(bad)
    assert np.array_equal(task.get_state(), before)


@some
def test_wrong_actions_are_refused_and_large_ones_clipped(name: str) -> None:
    task = registry.make(name, observation="state").unwrapped
    start, a = task.get_state(), len(zeros(task))
    for bad in (np.zeros(a + 1), np.full(a, np.nan)):
        with pytest.raises(BadValue, match=f"action must be {a} finite numbers"):
            task.step(bad)
    clipped = play(task, task.action_space.high[None])
    task.set_state(start)
    assert np.array_equal(play(task, task.action_space.high[None] * 50 + 1), clipped)


@some
def test_wrong_options_are_refused(name: str) -> None:
    with pytest.raises(BadValue, match="image_size"):
        registry.make(name, image_size=0)
    with pytest.raises(BadValue, match="max_episode_steps"):
        registry.make(name, max_episode_steps=0)
    named = {} if name in registry.TASKS else {"name": name.partition("/")[2]}
    with pytest.raises(UnknownName, match="rgb_array"):
        type(registry.make(name).unwrapped)(**named, render_mode="human")


@every
def test_teleport_leads_where_no_action_does(name: str) -> None:
    task = registry.make(name, observation="state").unwrapped
    for state in busy_states(task, 2):
        place = task.teleport(state, np.random.default_rng(3))
        assert task.hard(state, place) and not task.success(state, place) and task.in_view(place)
        assert np.array_equal(place, task.teleport(state, np.random.default_rng(3)))
        near = [state]
        for move in actions(task, 5):
            near.append(task.advance(near[-1], move.astype(np.float64)))
        assert max(task.distance(state, other) for other in near) < task.distance(state, place)
        assert np.abs(task.draw(state).astype(int) - task.draw(place)).max() > 30
        task.set_state(place)
        task.step(zeros(task))  # it goes on from there


@every
def test_recolouring_changes_the_picture_and_nothing_else(name: str) -> None:
    task = registry.make(name, observation="state").unwrapped
    (state,) = busy_states(task, 1)
    before, (move, *_) = task.draw(state).astype(int), actions(task, 1)
    after = task.advance(state, move.astype(np.float64))
    values = task.recoloured(np.random.default_rng(0))
    changed = {factor for factor in task.factors if not np.array_equal(values[factor], task.variation[factor])}
    assert changed == {task.colour_factor}
    task.vary(values, np.random.default_rng(0))
    assert np.array_equal(task.advance(state, move.astype(np.float64)), after)
    assert np.abs(task.draw(state) - before).max() > 20
    task.vary(None, np.random.default_rng(0))
    assert np.array_equal(task.draw(state), before)
