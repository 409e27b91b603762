"""Which objective the settings ask for, and that an agent takes one's own."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.planners.toys import FakeModel
from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.planners.arrivals import arrival_steps
from worldmodel.planners.config import METRICS, AgentConfig, CEMConfig
from worldmodel.planners.objectives import METRICS as DISTANCES
from worldmodel.planners.objectives import GoalDistance, PathDistance, Sum
from worldmodel.planners.options import make_agent
from worldmodel.planners.penalties import Effort, SelfConsistency, Smoothness
from worldmodel.planners.scoring import make_objective

SEARCH = dict(candidates=16, elites=4, iterations=2)


def chosen(way_left=None, model=None, **settings):
    return make_objective(AgentConfig(**settings), model or FakeModel(), way_left)  # F = 3


@pytest.mark.parametrize(
    ("horizon", "goal_steps", "steps"),
    [
        (5, 5, ()),
        (32, 32, ()),
        (8, 5, (5, 8)),
        (32, 5, (5, 8)),  # not later than twice the way
        (32, 16, (5, 8, 16, 32)),
        (10, 5, (5, 8, 10)),
        (8, 2, (2,)),
        (5, 4, (4, 5)),  # one step of five was executed
        (5, 2, (2,)),
        (20, 10, (5, 8, 10, 16, 20)),
        (3, 1, (1,)),
        (32, None, (5, 8, 16, 32)),
        (5, None, ()),
    ],
)
def test_arrivals_are_read_when_the_horizon_exceeds_the_way(horizon, goal_steps, steps):
    assert arrival_steps(horizon, goal_steps) == steps


@pytest.mark.parametrize(
    ("settings", "objective"),
    [
        ({}, GoalDistance()),
        ({"horizon": 5, "way_left": 15}, GoalDistance()),
        ({"horizon": 5, "way_left": 13}, GoalDistance()),  # 13 environment steps need five blocks
        ({"horizon": 8, "way_left": 15}, GoalDistance((5, 8))),
        ({"horizon": 8, "way_left": 15, "metric": "cosine"}, GoalDistance((5, 8), "cosine")),
        ({"horizon": 8, "way_left": 15, "arrivals": (3, 6)}, GoalDistance((3, 6))),
        ({"horizon": 8, "way_left": 15, "score": "last"}, GoalDistance()),
        ({"horizon": 4, "score": "best"}, GoalDistance((1, 2, 3, 4))),
        ({"horizon": 4, "score": "best", "arrivals": (2, 4)}, GoalDistance((2, 4))),
        ({"horizon": 8, "score": "executed", "execute_steps": 2}, GoalDistance((2,))),
        ({"horizon": 3, "score": "executed", "execute_steps": 5}, GoalDistance((3,))),
        ({"horizon": 8, "score": "weighted", "tail": 0.9, "metric": "cosine"}, PathDistance(0.9, "cosine")),
    ],
)
def test_settings_choose_the_distance(settings, objective):
    assert chosen(**settings) == objective


def test_weights_add_penalties_and_equal_settings_equal_objectives():
    model = tiny_model(context=2)  # max_prefix 4
    settings = dict(effort=0.1, smoothness=0.2, consistency=1.0, metric="cosine", horizon=9, way_left=6)
    hop = SelfConsistency(jump=4, split=2, context=2, metric="cosine")
    distance = GoalDistance((2,), "cosine")
    expected = Sum(((1.0, distance), (0.1, Effort(model)), (0.2, Smoothness(model)), (1.0, hop)))
    assert chosen(model=model, **settings) == chosen(model=model, **settings) == expected
    assert hash(chosen(model=model, **settings)) == hash(expected)
    assert expected.steps(9) == (1, 2, 4)
    splits = [chosen(model=model, consistency=1.0, horizon=h).terms[1][1].split for h in (2, 3, 4, 9)]
    assert splits == [1, 1, 2, 2]
    assert {*METRICS} == {*DISTANCES}


def test_hops_are_two_and_three_of_five_as_published():
    from dataclasses import replace

    from tests.worldmodel.tiny import tiny_config

    model = tiny_model(context=1, prefix=replace(tiny_config().prefix, max_prefix=5))
    assert chosen(model=model, consistency=1.0).terms[1][1] == SelfConsistency(jump=5, split=2, context=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"consistency": 1.0, "predictor": "one-step"}, "consistency: the one-step predictor"),
        ({"consistency": 1.0, "horizon": 1}, "consistency: horizon: 1"),
        ({"metric": "l1"}, "unknown metric 'l1': .*choose from cosine, l2"),
        ({"score": "lats"}, "unknown score 'lats': did you mean 'last'"),
        ({"score": "last", "arrivals": (2,)}, "arrivals: .*score='last'"),
        ({"arrivals": (3, 2)}, "arrivals: expected ascending"),
        ({"arrivals": (5, 6)}, "arrivals: .*horizon"),
        ({"tail": 0.0}, "tail"),
        ({"effort": -0.1}, "effort"),
        ({"smoothness": float("nan")}, "smoothness"),
        ({"consistency": float("inf")}, "consistency"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, words):
    with pytest.raises(WorldModelError, match=words) as error:
        tiny_model().agent(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (CEMConfig, {"elites": 31, "candidates": 30}, ["elites: 31", "candidates: 30"]),
        (CEMConfig, {"iterations": 0}, ["iterations"]),
        (CEMConfig, {"candidates": 0}, ["candidates"]),
        (CEMConfig, {"init_std": 0.0}, ["init_std"]),
        (CEMConfig, {"min_std": -0.1}, ["min_std"]),
        (CEMConfig, {"correlation": 1.0}, ["correlation"]),
        (CEMConfig, {"decay": 0.9}, ["decay"]),
        (CEMConfig, {"tolerance": -0.1}, ["tolerance"]),
        (AgentConfig, {"chunk": -1}, ["chunk"]),
        (AgentConfig, {"deadline_ms": 0}, ["deadline_ms"]),
        (AgentConfig, {"horizon": 0}, ["horizon"]),
        (AgentConfig, {"execute_steps": 0}, ["execute_steps"]),
        (AgentConfig, {"goal_offset": 0}, ["goal_offset"]),
        (AgentConfig, {"seed": -1}, ["seed"]),
    ],
)
def test_impossible_settings_are_named(cls, options, words):
    with pytest.raises(BadValue) as error:
        cls(**options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_configs_and_interfaces_need_no_torch():
    code = "import sys, worldmodel.planners.config, worldmodel.planners.settings, worldmodel.interfaces\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def test_a_batch_is_planned_as_its_rows_are_whatever_counts():
    model = tiny_model(context=2, latent_dim=32)
    model.set_actions([0.1, -20.0], [0.4, 40.0], [-1.0, -40.0], [0.5, 100.0])
    options = dict(horizon=6, execute_steps=1, score="best", metric="cosine", **SEARCH)
    frames = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 16, 16, 3), dtype=np.uint8)

    def act(rows, chunk):
        a = model.agent(chunk=chunk, effort=0.1, smoothness=0.1, consistency=1.0, **options)
        state, actions = a.begin(rows), []
        for pixels, goal in frames[:, :, rows]:
            action, state = a.predict({"pixels": pixels, "goal": goal}, state)
            actions.append(action)
        return np.stack(actions, axis=1)

    together = act([0, 1, 2], 0)
    for b in range(3):
        np.testing.assert_array_equal(act([b], 0)[0], together[b])
    for chunk in (1, 5):
        np.testing.assert_array_equal(act([0, 1, 2], chunk), together)


# An objective of one's own

PIXELS = np.zeros((2, 4, 4, 3), np.uint8)
SEEN = {"pixels": PIXELS, "goal": PIXELS + 1}  # black is no goal


def agent(objective, **options):
    return make_agent(FakeModel(), objective=objective, horizon=2, **{**SEARCH, **options})


def test_a_plain_function_is_planned_with():
    def rightward(latents, actions):
        assert latents.shape[2:] == (2, 2) and actions.shape[2:] == (6, 2)
        return -latents[:, :, -1, 0] + actions[..., 1].square().sum(-1)

    action, _ = agent(rightward, candidates=100, iterations=8).predict(SEEN)
    assert (action[:, 0] > 0.9).all() and np.abs(action[:, 1]).max() < 0.2


def test_effort_and_smoothness_are_added_to_ones_own():
    def flat(latents, actions):
        return 0 * latents[:, :, 0, 0]

    plan = agent(flat, effort=1.0, candidates=100, iterations=8)
    assert np.abs(plan.predict(SEEN)[0]).max() < 0.15
    assert isinstance(plan.objective, Sum) and plan._objective(3) == plan.objective


def test_lists_are_keys_too():
    terms = [[1.0, GoalDistance([1, 3])], [0.5, PathDistance()]]
    objective = Sum(terms)
    assert hash(objective) == hash(Sum(((1.0, GoalDistance((1, 3))), (0.5, PathDistance()))))
    assert objective.steps(4) == (1, 2, 3, 4) and GoalDistance([]).steps(4) == (4,)
    assert agent(GoalDistance([1, 2])).predict(SEEN)[0].shape == agent(None, arrivals=[1, 2]).predict(SEEN)[0].shape


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: GoalDistance(metric="cosin"), "unknown metric 'cosin': did you mean 'cosine'"),
        (lambda: PathDistance(metric="nope"), "unknown metric 'nope'"),
        (lambda: SelfConsistency(jump=2, split=1, metric="nope"), "unknown metric 'nope'"),
        (lambda: GoalDistance(5), "arrivals: expected model steps, got 5"),
        (lambda: PathDistance(tail=0), "tail: expected 0 < tail <= 1, got 0"),
        (lambda: PathDistance(tail=2), "tail: expected 0 < tail <= 1, got 2"),
        (lambda: Sum([GoalDistance()]), "terms: expected pairs of a weight"),
        (lambda: GoalDistance(metric=["l2"]), "unknown metric"),
        (lambda: Sum([("1", GoalDistance())]), "terms: expected pairs of a weight"),
        (lambda: Sum(3), "terms: expected pairs of a weight"),
    ],
)
def test_what_cannot_be_an_objective_is_named(made, words):
    with pytest.raises(WorldModelError) as error:
        made()
    assert words in str(error.value)


@dataclass
class Unhashable:
    def steps(self, horizon):
        return (horizon,)

    def __call__(self, forecast):
        return forecast.z[:, :, 0, 0]


class Reads:
    def __init__(self, *steps):
        self.read = steps

    def steps(self, horizon):
        return self.read

    def __call__(self, forecast):
        return forecast.z[:, :, 0, 0]


@pytest.mark.parametrize(
    ("objective", "options", "words"),
    [
        (3, {}, "objective: expected an Objective or a function .* got 3"),
        (GoalDistance, {}, "objective: expected an Objective .* got <class"),
        (lambda z: z[:, :, -1, 0], {}, r"objective: expected a function of \(latents, actions\), too many positional"),
        (Effort(FakeModel()), {}, r"got \(\)"),
        (Unhashable(), {}, "objective: Unhashable has no hash"),
        (Sum([(1.0, Unhashable())]), {}, "objective: Sum has no hash .*Unhashable"),
        (Reads(), {}, r"objective: expected to read ascending model steps in 1..2 \(the horizon\), got ()"),
        (Reads(3), {}, r"got \(3,\)"),
        (Reads(2, 1), {}, r"got \(2, 1\)"),
        (Reads(1), {"score": "last"}, "score: 'last' has no effect where no distance to a goal"),
        (Reads(1), {"metric": "cosine"}, "metric: 'cosine'"),
        (Reads(1), {"arrivals": (1,)}, "arrivals"),
    ],
)
def test_an_objective_that_cannot_be_used_is_named(objective, options, words):
    with pytest.raises(BadValue, match=words):
        agent(objective, **options)


def test_an_objective_of_nan_is_named_in_one_line():
    with pytest.raises(WorldModelError, match="objective") as error:
        agent(lambda latents, actions: torch.nan * latents[:, :, 0, 0]).predict(SEEN)
    assert re.search(r"environment 0.*NaN", str(error.value)) and "\n" not in str(error.value)
    with pytest.raises(BadValue, match=r"objective: expected costs \(B, N\) = \(2, 16\)"):
        agent(lambda latents, actions: latents).predict(SEEN)
    with pytest.raises(UnknownName, match="did you mean 'effort'"):
        agent(None, efort=1.0)
