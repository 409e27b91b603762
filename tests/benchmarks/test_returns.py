"""Episodes that are judged by what they earn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.benchmarks.intervals import bootstrap_mean
from worldmodel.benchmarks.policies import RandomPolicy
from worldmodel.benchmarks.returns import average, beginnings, earn, floors, recorded, usual_budget
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue

BUDGET = 12


def plain(seed: int, row: int, seeds: list[int]) -> float:
    """An episode of random actions, by a plain loop."""
    env = registry.make("two-room", observation="state", terminate_on_success=False)
    env.reset(seed=seeds[row])
    rng, total = np.random.default_rng((seed, row)), 0.0
    for _ in range(BUDGET):
        total += env.step(rng.uniform(-1, 1, 2).astype(np.float32))[1]
    return total


def test_returns_are_sums_of_rewards_in_any_company() -> None:
    seeds, done = beginnings(5, seed=3), []
    policy = RandomPolicy(registry.make("two-room").action_space, 7)
    whole = earn(policy, "two-room", seeds, BUDGET, 16, watch=2, progress=done.append)
    parts = earn(policy, "two-room", seeds, BUDGET, 16, together=2)
    np.testing.assert_array_equal(whole.returns, parts.returns)
    np.testing.assert_allclose(whole.returns, [plain(7, row, seeds) for row in range(5)])
    assert sum(done) == 5 * BUDGET and (whole.steps == BUDGET).all()
    assert [rollout.frames.shape for rollout in whole.rollouts] == [(BUDGET + 1, 16, 16, 3)] * 2
    assert whole.rollouts[0].goal is None and not parts.rollouts
    np.testing.assert_array_equal(floors("two-room", seeds, BUDGET, 7)["random"].returns, whole.returns)


def test_an_episode_that_ends_earns_no_more() -> None:
    pytest.importorskip("pygame", reason="needs the extra gym")
    policy = RandomPolicy(registry.make("gym/CartPole-v1").action_space, 0)
    earned = earn(policy, "gym/CartPole-v1", beginnings(3, 0), 150, observation="state")
    assert (earned.steps < 150).all() and (earned.returns == earned.steps).all()  # one a step


def test_beginnings_are_fixed_and_differ() -> None:
    assert beginnings(4, 0) == beginnings(4, 0) != beginnings(4, 1)
    assert len(set(beginnings(50, 0))) == 50


def test_recorded_returns(tmp_path: Path) -> None:
    episodes = [episode(0, 6), episode(1, 4), {**episode(2, 3), "terminated": np.array([False, False, True])}]
    with EpisodeStore(write_store(tmp_path / "a.h5", episodes, {"env": "two-room"})) as store:
        assert usual_budget(store) == 3
        np.testing.assert_array_equal(recorded(store, 3), [-6.0, -6.0, -3.0])  # rewards -1, -2, ...; the last fell over
        np.testing.assert_array_equal(recorded(store, 2), [-3.0, -3.0, -3.0])
        with pytest.raises(BadFile, match="1 of its episodes were cut after 3 steps or later, before the budget of 5"):
            recorded(store, 5)
    path = write_store(tmp_path / "b.h5", episodes[2:], {"env": "two-room"})
    with EpisodeStore(path) as store:
        assert usual_budget(store) == 2 and recorded(store, 9).tolist() == [-3.0]


def test_mean_and_its_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert average(np.array([2.0])) == {"return": 2.0, "low": 2.0, "high": 2.0, "n": 1}
    with pytest.raises(BadValue, match="finite"):
        bootstrap_mean(np.array([1.0, np.nan]))
    with pytest.raises(BadValue, match="budget and episodes"):
        earn(RandomPolicy(registry.make("two-room").action_space), "two-room", [], 3)
