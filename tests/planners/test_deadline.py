"""Deadlines, on a clock that only planning moves."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.planners.test_agent import agent, frame, run
from tests.planners.toys import FakeModel
from worldmodel.errors import BadValue
from worldmodel.planners import search


class Slow(FakeModel):
    """Takes 20 ms to predict."""

    def __init__(self, now, **options):
        super().__init__(**options)
        self.now = now

    def arrivals(self, context, plans, steps):
        self.now[0] += 0.02
        return super().arrivals(context, plans, steps)


@pytest.fixture
def now(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    return seconds


def test_an_ample_deadline_changes_nothing():
    free, _ = run(agent(iterations=4), 12)
    ample = agent(iterations=4, deadline_ms=60_000)
    assert not ample.stats.rows and not ample.stats.plans  # what trying it took is not counted
    np.testing.assert_array_equal(run(ample, 12)[0], free)
    assert [solve.iterations for solve in ample.stats.solves] == [4] * len(ample.stats.solves)


def test_a_deadline_stops_the_search_in_time(now):
    tight = agent(Slow(now), iterations=100, deadline_ms=150)
    run(tight, 12)
    assert [solve.iterations for solve in tight.stats.solves] == [7] * len(tight.stats.solves)
    assert all(taken <= 150 for taken in tight.stats.milliseconds)
    with pytest.raises(BadValue, match="deadline_ms: 10 is too short: encoding and one iteration of 16 candidates"):
        agent(Slow(now), deadline_ms=10)


def test_rows_that_cannot_be_solved_together_share_the_time(now):
    tight = agent(Slow(now), iterations=100, deadline_ms=150, horizon=2, execute_steps=1)
    run(tight, 7, rows=2, starts={3: [1]})  # from then on one row remembers two frames, the other one or two
    assert [solve.iterations for solve in tight.stats.solves][1:3] == [3, 4]
    assert all(taken <= 150 for taken in tight.stats.milliseconds)


def test_what_one_row_will_need_has_been_asked_for_before(monkeypatch):
    made = []
    solve = search.Search.solve

    def noted(self, cost, start, generators, proposals=None, until=None):
        made.append((tuple(cost.context.z.shape), proposals is None))
        return solve(self, cost, start, generators, proposals, until)

    monkeypatch.setattr(search.Search, "solve", noted)
    a = agent(FakeModel(context=3), planner="icem", deadline_ms=60_000, horizon=2, execute_steps=1)
    before = set(made)
    run(a, 20)
    assert set(made) == before and len(before) == 3


def test_planning_inside_inference_mode():
    for planner in ("cem", "cem-gradient"):
        a = agent(planner=planner)
        with torch.inference_mode():
            inside, _ = a.predict(frame(0))
        np.testing.assert_array_equal(inside, agent(planner=planner).predict(frame(0))[0])
