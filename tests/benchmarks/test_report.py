"""What the table of an evaluation says, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worldmodel.benchmarks import protocols, report
from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.pairs import sample_pairs

PLANNING = report.Planning(
    predictor="prefix",
    controller="search",
    max_prefix=5,
    action_block=5,
    horizon=5,
    execute_steps=5,
    reads=(5,),
    planner="cem",
    search={"candidates": 64},
    agent={},
    told=(),
    deadline_ms=None,
    plans=24,
    reflexes=0,
    ms_per_plan=1.0,
    ms_one_plan=2.0,
    cpu_ms_one_plan=2.0,
    iterations_done=5.0,
)


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 15, 24, seed=0)


def values(pairs, success):
    nothing = np.empty((len(pairs), 0, 0))
    outcome = Outcome(success=success, steps=np.full(24, 30), rollouts=(), states=nothing, actions=nothing)
    found = report.as_dict(protocols.load("lewm-25"), pairs, 50, outcome, {"noop": outcome}, PLANNING)
    return {"env": "two-room", **found}


def test_an_interval_by_episode_is_shown_where_it_says_something(pairs):
    some, spread = np.arange(24) % 4 > 0, replace(pairs, episode=np.arange(24) // 4)
    assert "by_episode" not in values(pairs, some)  # of three episodes
    assert "by_episode" not in values(spread, some)  # every episode has the same rate
    for everywhere in (True, False):
        found = values(spread, np.full(24, everywhere))
        assert "by_episode" not in found and "  by episode" not in dict(report.rows(found))
    found = values(spread, np.arange(24) < 10)
    assert 0 <= found["by_episode"]["low"] < 10 / 24 < found["by_episode"]["high"] <= 1
    low, high = (100 * found["by_episode"][end] for end in ("low", "high"))
    assert dict(report.rows(found))["  by episode"].strip() == f"[{low:.1f}, {high:.1f}]  bootstrap"


def test_search_on_the_simulator_is_said_to_be_another(pairs):
    won = np.arange(24) % 4 > 0
    simulated = report.proportion(np.ones(6, bool)) | {"candidates": 64, "iterations": 5}
    simulated |= {"horizon_env_steps": 25, "execute_env_steps": 10}
    simulated |= {"policy": report.proportion(won[::4]), "mcnemar_p_pairs_independent": 2 / 2**6}
    table = dict(report.rows(values(pairs, won) | {"simulator": simulated}))
    assert table["CEM on the simulator"].endswith(
        "n = 6, 64 candidates x 5 iterations, 25 environment steps ahead, 10 executed"
    )
    line = table["  the model on these"]
    assert line.startswith("  0.0 %") and line.endswith("n = 6, McNemar p 0.031, pairs taken as independent")
