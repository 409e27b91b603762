"""Evaluation by several processes is evaluation by one."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import NoopPolicy
from worldmodel.benchmarks.workers import identical
from worldmodel.errors import BadValue, WorldModelError


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 10, 12, seed=0)


def agent(**options):
    return tiny_model().agent(candidates=8, elites=2, iterations=2, seed=3, **options)


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_and_company_change_nothing(pairs, workers):
    done = []
    one, many = agent(), agent()
    whole = evaluate(one, "two-room", pairs, 20, 16, watch=3)
    shared = evaluate(many, "two-room", pairs, 20, 16, watch=3, together=1, progress=done.append, workers=workers)
    assert identical(whole, shared).all() and sum(done) == len(pairs) * 20
    assert [len(rollout.frames) for rollout in whole.rollouts] == [len(rollout.frames) for rollout in shared.rollouts]
    for ours, theirs in zip(whole.rollouts, shared.rollouts):
        assert np.array_equal(ours.frames, theirs.frames) and np.array_equal(ours.goal, theirs.goal)
    assert one.stats.plans == many.stats.plans == sum(many.stats.rows)
    assert len(many.stats.solves) == many.stats.plans and many.stats.total_ms > 0


def test_each_evaluation_is_counted_once(pairs):
    one, counts = agent(), []
    for _ in range(2):
        evaluate(one, "two-room", pairs, 20, 16, only=range(2))
        counts.append(one.stats.plans)
    assert counts == [counts[0], 2 * counts[0]] and sum(one.stats.rows) == counts[1]


class Sent:
    """Becomes a call when it arrives in another process."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("policy", "says"),
    [(Sent(os._exit, 3), "was killed"), (Sent(int, "x"), "a worker failed: ValueError: invalid literal")],
)
def test_a_worker_that_ends_is_one_line(pairs, policy, says):
    with pytest.raises(WorldModelError, match=says) as error:
        evaluate(policy, "two-room", pairs, 20, 16, workers=2)
    assert "\n" not in str(error.value)


def test_mistakes(pairs):
    with pytest.raises(BadValue, match="workers: expected 0"):
        evaluate(NoopPolicy(len(pairs), 2), "two-room", pairs, 20, 16, workers=-1)
    with pytest.raises(BadValue, match="workers: expected 1, what is evaluated cannot be sent"):
        evaluate(agent(objective=lambda z, a: z.sum((2, 3))), "two-room", pairs, 20, 16, workers=2)
