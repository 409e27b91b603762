"""Parity with another evaluator, as far as it can be had without it."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.benchmarks import judging_parity
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.judging_peer import Recorded, their_rows
from worldmodel.benchmarks.policies import ReplayPolicy

OFFSET, BUDGET = judging_parity.OFFSET, judging_parity.BUDGET


def test_both_rules_draw_the_same_rows(store):
    ours = judging_parity.start_rows(store, OFFSET, 30, 42)
    assert np.array_equal(ours, their_rows(store, OFFSET, 30, 42)) and len(np.unique(ours)) == 30
    episode = np.searchsorted(store.offsets, ours, side="right") - 1
    assert (ours + OFFSET < store.offsets[episode] + store.lengths[episode]).all()


def test_a_table_plays_what_our_policy_plays():
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2)).astype(np.float32)
    theirs, ours = Recorded(actions), ReplayPolicy(actions)
    state = ours.begin(range(3))
    for _ in range(4):
        action, state = ours.predict({}, state)
        assert np.array_equal(theirs.get_action({}), action)


def test_what_agrees_is_counted(store):
    rows = judging_parity.start_rows(store, OFFSET, 8, 42)
    pairs = judging_parity.our_pairs("two-room", store, rows)
    theirs = {"rows": rows, "starts": pairs.starts, "goals": pairs.goals}
    for name, actions in judging_parity.recorded_actions(store, rows).items():
        outcome = evaluate(ReplayPolicy(actions), "two-room", pairs, BUDGET, observation="state")
        last = np.isfinite(outcome.states[..., 0]).sum(1) - 1
        theirs |= {f"{name}.theirs": outcome.success.copy(), f"{name}.ours": outcome.success}
        theirs |= {f"{name}.states": outcome.states, f"{name}.theirs_end": outcome.states[np.arange(8), last]}
    theirs["zero.theirs"][0] ^= True
    found = judging_parity.compared("two-room", store, rows, theirs)
    assert found["same_rows"] == found["replay"]["same_class"]["same_success"] == 8
    assert found["zero"]["same_class"]["same_success"] == 7 and found["zero"]["our_task"]["other_success"] == 1
    assert found["replay"]["our_task_inside"]["n"] == 8 and found["replay"]["our_task"]["only_ours"] == 0
    assert found["random"]["our_task"]["distance_apart"]["largest"] == pytest.approx(0)
    assert len(judging_parity.table([found])) == 4
