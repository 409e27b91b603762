from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks import evaluate as evaluation
from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling, time_one_plan
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import NoopPolicy, RandomPolicy, ReplayPolicy
from worldmodel.benchmarks.seats import seats
from worldmodel.benchmarks.video import compose, write_video
from worldmodel.envs import registry
from worldmodel.envs.two_room import TwoRoom
from worldmodel.errors import BadValue
from worldmodel.planners.agent import Agent


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 15, 24, seed=0)


class Watcher(ReplayPolicy):
    """Records how many environments it is asked to act in."""

    def __init__(self, actions):
        super().__init__(actions)
        self.batches = []

    def predict(self, observation, state):
        assert observation["pixels"].shape == observation["goal"].shape == (len(state.rows), 16, 16, 3)
        self.batches.append(len(state.rows))
        return super().predict(observation, state)


def test_replay_is_the_ceiling_and_noop_the_floor(pairs):
    outcomes = floors_and_ceiling("two-room", pairs, 30, seed=0)
    assert outcomes["replay"].rate == 1.0
    assert outcomes["noop"].rate == 0.0  # nothing is solved at the start
    assert 0 <= outcomes["random"].rate < 1
    assert (outcomes["replay"].steps <= 15).all() and (outcomes["noop"].steps == 30).all()


def test_success_on_the_way_counts_and_ends_the_episode(pairs):
    """The agent walks through the goal and on; it succeeds at the step at which it first came near."""
    start, goal = np.array([30.0, 60.0]), np.array([60.0, 60.0])
    walk = np.zeros((2, 15, 2), np.float32)
    walk[0, :, 0] = 1  # 5 px a step: within 16 px after 3 steps
    passing = replace(pairs, starts=np.stack([start] * 2), goals=np.stack([goal] * 2), actions=walk)
    policy = Watcher(walk)
    outcome = evaluate(policy, "two-room", passing, budget=15, image_size=16, watch=2)
    assert outcome.success.tolist() == [True, False]
    assert outcome.steps.tolist() == [3, 15]
    assert policy.batches == [2] * 3 + [1] * 12
    first, second = outcome.rollouts
    assert first.success and len(first.frames) == 4 and len(second.frames) == 16
    assert np.array_equal(first.goal, second.goal) and not np.array_equal(first.frames[0], first.frames[-1])


def test_batching_changes_nothing(pairs):
    task = registry.make("two-room")
    policy = RandomPolicy(task.action_space, seed=5)
    whole = evaluate(policy, "two-room", pairs, 30, 16, watch=3)
    parts = evaluate(policy, "two-room", pairs, 30, 16, watch=3, together=5)
    assert np.array_equal(whole.success, parts.success) and np.array_equal(whole.steps, parts.steps)
    assert len(whole.rollouts) == len(parts.rollouts) == 3
    for one, two in zip(whole.rollouts, parts.rollouts):
        assert np.array_equal(one.frames, two.frames)


def test_another_look_changes_what_is_seen_and_not_what_happens(store, task, pairs):
    varied = sample_pairs(store, task, 15, 24, seed=0, variation="colour")
    assert np.array_equal(varied.row, pairs.row)
    policy = RandomPolicy(task.action_space, seed=5)
    plain, other = (evaluate(policy, "two-room", these, 30, 16, watch=24) for these in (pairs, varied))
    assert np.array_equal(plain.steps, other.steps)
    assert floors_and_ceiling("two-room", varied, 15, seed=0)["replay"].rate == 1.0
    for one, two in zip(plain.rollouts, other.rollouts):
        assert not np.array_equal(one.frames, two.frames) and not np.array_equal(one.goal, two.goal)


def test_episodes_in_one_environment_are_those_of_many(pairs, task, monkeypatch):
    policy, seen = RandomPolicy(task.action_space, seed=5), []

    def counted(*arguments, **options):
        seen.append(seats(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(evaluation, "seats", counted)
    shared = evaluate(policy, "two-room", pairs, 30, 16, watch=3)
    assert len({id(env.unwrapped) for env in seen[-1]}) == 1 < len(seen[-1])
    monkeypatch.setattr(evaluation, "seats", lambda name, count, apart, **o: seats(name, count, True, **o))
    apart = evaluate(policy, "two-room", pairs, 30, 16, watch=3)
    np.testing.assert_array_equal(shared.states, apart.states)
    for one, two in zip(shared.rollouts, apart.rollouts, strict=True):
        assert np.array_equal(one.frames, two.frames) and np.array_equal(one.goal, two.goal)


@pytest.mark.parametrize(("missing", "apart"), [(None, 1), ("takes_turns", 4)])
def test_only_a_task_that_can_take_turns_does(monkeypatch, missing, apart):
    """Others may be slow at it, or of somebody else's making."""
    if missing:
        monkeypatch.setattr(TwoRoom, missing, False)
    assert len({id(env.unwrapped) for env in seats("two-room", 4, False)}) == apart
    assert seats("two-room", 0, False) == []


def test_one_plan_is_timed_where_it_is_searched_for():
    agent = tiny_model(reflex=8, env="two-room").agent(goal_offset=50, iterations=2, candidates=16, elites=2, horizon=2)
    task = registry.make("two-room").unwrapped
    start = {"state": task.sample(np.random.default_rng(0)), "goal_state": task.sample(np.random.default_rng(1))}
    time_one_plan(agent, "two-room", start, 16, repeats=2)
    assert [solve.iterations for solve in agent.stats.solves] == [2, 2]


def test_worlds_that_differ_have_an_environment_each(store, task, monkeypatch):
    varied = sample_pairs(store, task, 15, 6, seed=0, variation="colour")
    monkeypatch.setattr(evaluation, "seats", lambda *a, **o: seen.extend(seats(*a, **o)) or seen)
    seen = []
    evaluate(RandomPolicy(task.action_space), "two-room", varied, 5, 16)
    assert len({id(env.unwrapped) for env in seen}) == 6


@pytest.mark.parametrize(("controller", "R"), [("reflex", 1), ("search", 3)])
def test_pictures_that_nobody_looks_at_are_not_drawn_and_change_nothing(pairs, monkeypatch, controller, R):
    """Of the steps of a block all but the last; the rollout that is filmed is drawn whole."""
    options = dict(candidates=8, elites=2, iterations=1, horizon=3, goal_offset=15)
    agent = tiny_model(context=2, reflex=8, env="two-room").agent(controller=controller, execute_steps=R, **options)
    drawn, draw = [], TwoRoom.draw
    monkeypatch.setattr(TwoRoom, "draw", lambda task, state: drawn.append(state) or draw(task, state))

    def judged(policy):
        drawn.clear()
        return evaluate(policy, "two-room", pairs, 20, image_size=16, watch=1), len(drawn)

    lazy, few = judged(agent)
    monkeypatch.delattr(Agent, "looks")
    whole, all_of_them = judged(agent)
    np.testing.assert_array_equal(lazy.states, whole.states)
    np.testing.assert_array_equal(lazy.actions, whole.actions)
    assert lazy.success.tolist() == whole.success.tolist()
    np.testing.assert_array_equal(lazy.rollouts[0].frames, whole.rollouts[0].frames)
    block, shown = agent.model.config.action_block, 2 * len(pairs)  # every start and goal
    steps, filmed = whole.steps.sum(), whole.steps[0]
    assert all_of_them == shown + steps
    assert few == shown + filmed + (whole.steps[1:] // block).sum()


def test_progress_adds_up(pairs):
    done = []
    evaluate(ReplayPolicy(pairs.actions), "two-room", pairs, 20, 16, together=7, progress=done.append)
    assert sum(done) == len(pairs) * 20


def test_budget_beyond_the_time_limit_is_used(pairs):
    one = replace(pairs, starts=pairs.starts[:1], goals=pairs.goals[:1], actions=pairs.actions[:1])
    still = Watcher(np.zeros((1, 0, 2)))
    assert evaluate(still, "two-room", one, registry.TIME_LIMIT + 5, 16).rate == 0
    assert len(still.batches) == registry.TIME_LIMIT + 5


def test_bad_budget(pairs):
    with pytest.raises(BadValue, match="budget"):
        evaluate(NoopPolicy(len(pairs), 2), "two-room", pairs, 0)


def test_one_plan_is_timed(pairs):
    took = time_one_plan(NoopPolicy(len(pairs), 2), "two-room", pairs.options(0), 16)
    assert took["ms_one_plan"] > 0 and took["cpu_ms_one_plan"] >= 0


def test_video_shows_rollouts_beside_goals(pairs, tmp_path):
    import av

    outcome = evaluate(ReplayPolicy(pairs.actions), "two-room", pairs, 20, 16, watch=4)
    film = compose(outcome.rollouts)
    longest = max(len(rollout.frames) for rollout in outcome.rollouts)
    assert film.dtype == np.uint8 and len(film) > longest
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0 and film.shape[1] >= 2 * 192
    green = (film == (40, 200, 80)).all(-1).any((1, 2))
    assert not green[0] and green[-1]
    assert np.array_equal(film[-1], film[longest])
    path = write_video(tmp_path / "film.mp4", film)
    with av.open(str(path)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert len(images) == len(film) and images[0].shape == film.shape[1:]
    assert np.abs(images[0].astype(int) - film[0]).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_video_of_nothing():
    with pytest.raises(BadValue, match="no rollouts"):
        compose(())
