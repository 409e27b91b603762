"""Planning on the true simulator."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.intervals import mcnemar
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import NoopPolicy
from worldmodel.benchmarks.report import proportion
from worldmodel.benchmarks.simulator import SimulatorPolicy, ceiling, some
from worldmodel.benchmarks.workers import identical
from worldmodel.errors import BadValue

QUICK = {"candidates": 24, "iterations": 2}


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 15, 12, seed=0)


@pytest.fixture
def still(pairs):
    """Of a policy that never moves."""
    return evaluate(NoopPolicy(len(pairs), 2), "two-room", pairs, 30, observation="state")


def test_it_reaches_what_can_be_reached_and_counts_what_it_simulates(pairs, still):
    outcome, values = ceiling("two-room", pairs, 30, 0, still, n=6, **QUICK)
    assert outcome.success.mean() >= 0.8 and values["n"] == len(outcome.success) == 6
    assert values["pairs"] == [0, 2, 4, 6, 8, 10] and values["horizon_env_steps"] == 25
    most = values["plans"] * 24 * 2 * 25
    assert 0 < values["simulated_env_steps"] < most  # what succeeds is simulated no further
    assert values["solved"] == outcome.success.tolist()
    _, at_end = ceiling("two-room", replace(pairs, strict=True), 5, 0, still, n=6, **QUICK)
    assert at_end["plans"] == 6 and at_end["simulated_env_steps"] == 6 * 24 * 2 * 25


def test_it_executes_as_much_as_it_is_told(pairs, still):
    """Plans of 2 x 5 steps of which one block of 5 is executed: another plan every 5 steps."""
    told = {"horizon": 2, "action_block": 5, "execute_steps": 1}
    outcome, values = ceiling("two-room", pairs, 15, 0, still, n=4, **told, **QUICK)
    assert (values["horizon_env_steps"], values["execute_env_steps"]) == (10, 5)
    assert values["plans"] == sum(-(-steps // 5) for steps in outcome.steps)
    with pytest.raises(BadValue, match="execute_steps: expected 1 to the horizon, 2, got 3"):
        SimulatorPolicy("two-room", pairs, horizon=2, execute_steps=3)


def test_what_is_read_against_it_is_read_on_the_same_pairs(pairs, still):
    still.success[1::2] = True  # on pairs that it does not play
    outcome, values = ceiling("two-room", pairs, 30, 0, still, n=6, **QUICK)
    assert values["policy"] == proportion(np.zeros(6, bool))
    assert values["mcnemar_p_pairs_independent"] == mcnemar(int(outcome.success.sum()), 0)


class Still:
    """A world in which nothing moves, and the distance is not what is asked for."""

    def clipped(self, action):
        return action

    def advance(self, state, action):
        return state

    def distance(self, state, goal):
        return 7.0

    def shortfall(self, state, goal):
        return 3.0

    def success(self, state, goal):
        return False


@pytest.mark.parametrize(("strict", "cost"), [(False, 7.0), (True, 3.0)])
def test_strict_pairs_cost_what_is_missing_of_their_own_rule(pairs, strict, cost):
    policy = SimulatorPolicy("two-room", replace(pairs, strict=strict))
    assert policy._gap(Still(), pairs.starts[0], pairs.goals[0], np.zeros((2, 2), np.float32)) == cost


def test_neither_company_nor_travel_changes_it(pairs):
    policy = SimulatorPolicy("two-room", pairs, 3, **QUICK)
    sent = pickle.loads(pickle.dumps(policy))
    together = evaluate(policy, "two-room", pairs, 15, observation="state")
    alone = evaluate(sent, "two-room", pairs, 15, together=1, observation="state")
    assert identical(together, alone).all() and policy.stats.env_steps == sent.stats.env_steps > 0


def test_it_plans_in_the_world_of_each_pair(store, task, pairs):
    """What it follows is the truth: the way that it believes to go is the way that the environment goes."""
    varied = sample_pairs(store, task, 15, 6, seed=0, variation="agent.speed")
    policy = SimulatorPolicy("two-room", varied, 0, **QUICK)
    seen = []

    class Follower:
        def begin(self, rows):
            return policy.begin(rows)

        def predict(self, observation, state):
            seen.append(all(np.array_equal(a, row.state) for a, row in zip(observation["state"], state.rows)))
            return policy.predict(observation, state)

    evaluate(Follower(), "two-room", varied, 15, observation="state")
    assert len(seen) > 3 and all(seen)


def test_some_are_spread_evenly():
    assert some(200, 50) == range(0, 200, 4) and some(120, 50) == range(0, 120, 2)
    assert some(50, 50) == some(50, 80) == range(50)


def test_what_cannot_be_put_into_a_state_is_refused(pairs):
    pytest.importorskip("pygame", reason="needs the extra gym")
    with pytest.raises(BadValue, match="simulator: gym/Pendulum-v1 cannot be put into a state"):
        SimulatorPolicy("gym/Pendulum-v1", replace(pairs))
