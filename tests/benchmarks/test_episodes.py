"""Stable-Baselines3's ``evaluate_policy`` on our pairs ends every one of them as our own evaluation does."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pair_episodes import PairEpisodes, evaluate_by_sb3, vector
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.envs import registry
from worldmodel.errors import BadValue

BUDGET, OPTIONS = 30, dict(horizon=3, execute_steps=2, candidates=16, elites=4, iterations=3)


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 15, 16, seed=0)


def test_evaluate_policy_is_our_evaluation(pairs):
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is in the extra sb3")
    model = tiny_model()
    ours = evaluate(model.agent(**OPTIONS), "two-room", pairs, BUDGET, 16)
    assert 0 < ours.success.sum() < len(pairs)  # both ends are met
    for count in (1, 8):
        theirs = evaluate_by_sb3(model.agent(**OPTIONS), vector("two-room", pairs, BUDGET, count, 16), pairs, BUDGET)
        np.testing.assert_array_equal(theirs.success, ours.success)
        np.testing.assert_array_equal(theirs.steps, ours.steps)
    other = evaluate_by_sb3(model.agent(seed=1, **OPTIONS), vector("two-room", pairs, BUDGET, 8, 16), pairs, BUDGET)
    assert (other.steps != ours.steps).any()  # the noise matters


def test_pairs_are_dealt_in_turn_and_end(pairs):
    env = PairEpisodes(registry.make("two-room", max_episode_steps=4, terminate_on_success=False), pairs, 1, 8)
    for expected in (1, 9, 1):
        _, info = env.reset(seed=5)
        assert info["pair"] == expected and np.array_equal(info["state"], pairs.starts[expected])
    env.unwrapped.set_state(pairs.goals[1])
    _, _, terminated, truncated, info = env.step(np.zeros(2))
    assert terminated and not truncated and info["is_success"] and info["pair"] == 1
    env.reset()
    assert [env.step(np.zeros(2))[3] for _ in range(4)] == [False, False, False, True]
    assert isinstance(env, gymnasium.Wrapper)


def test_strict_pairs_are_refused(pairs):
    """They are not over when the goal is reached."""
    env = registry.make("two-room")
    with pytest.raises(BadValue, match="pairs: expected ones that success ends, got strict ones"):
        PairEpisodes(env, replace(pairs, strict=True))


def test_pairs_that_cannot_be_dealt_evenly_are_refused(pairs):
    for count in (0, 3, 32):
        with pytest.raises(BadValue, match=f"envs: {count} environments cannot share 16 pairs evenly"):
            vector("two-room", pairs, BUDGET, count)
