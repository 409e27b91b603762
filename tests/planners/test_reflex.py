"""Acting by reflex, by search, and by both."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.oracles import reflex_plan_slow
from tests.planners.test_agent import observe
from tests.planners.test_deadline import Slow
from tests.planners.toys import FakeModel, generators, watch
from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadValue, UnknownName
from worldmodel.interfaces import Context
from worldmodel.planners import reflex
from worldmodel.planners.agent import Agent
from worldmodel.planners.config import AgentConfig
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.options import make_agent
from worldmodel.planners.proposals import Proposal
from worldmodel.planners.reflex import COUNT, Reflex, steps_left
from worldmodel.planners.registry import PLANNERS
from worldmodel.planners.serving import Controller
from worldmodel.planners.serving_agent import ServedAgent
from worldmodel.planners.settings import NEAR, kinds

SEARCH = dict(candidates=16, elites=4, iterations=2, horizon=5)
GOAL = (6, 4)
SHOWN = np.random.default_rng(0).integers(0, 255, (20, 5, 16, 16, 3), np.uint8)


class Knows:
    """A model's reflex in the world of ``FakeModel``: an equal share of the way in each of the steps that are left."""

    def __init__(self, model: FakeModel) -> None:
        self.model, self.asked = model, []

    def __call__(self, anchor, goal, ahead):
        self.asked.append((anchor, goal, ahead))
        share = (goal - anchor[:, -1]) / ahead[:, None] / self.model.config.action_block
        return self.model.normalise(share.repeat(1, self.model.config.action_block))


def knowing(kind=FakeModel, *arguments, **options):
    model = kind(*arguments, **options)
    model.reflex = Knows(model)
    return model


def make(model, **options):
    known = kinds(options.get("planner", "cem"))
    return make_agent(model, **{name: value for name, value in {**SEARCH, **options}.items() if name in known})


@pytest.mark.parametrize("R", [1, 2, 5])
@pytest.mark.parametrize("controller", ["search", "reflex", "both"])
def test_a_row_acts_the_same_whichever_rows_accompany_it(controller, R):
    agent = tiny_model(reflex=8).agent(controller=controller, execute_steps=R, goal_offset=12, **SEARCH)

    def acts(rows):
        state, actions = agent.begin(rows), []
        for step in range(0, 18, 2):
            action, state = agent.predict({"pixels": SHOWN[step][rows], "goal": SHOWN[0][rows]}, state)
            actions.append(action)
        return np.stack(actions, axis=1)

    together = acts(list(range(5)))
    np.testing.assert_array_equal(acts(list(range(5))), together)
    for row in range(5):
        np.testing.assert_array_equal(acts([row])[0], together[row])
    assert np.abs(np.diff(together, axis=0)).max() > 0.01  # they do look


def test_a_reflex_asks_the_model_once_and_searches_nothing():
    agent = make(knowing(context=1), controller="reflex", goal_offset=12)
    seen, state = watch(agent), None
    for step in range(7):  # F = 3: plans at 0, 3 and 6
        action, state = agent.predict(observe([(0, 0), (1, 2)], GOAL), state)
        if step == 0:
            np.testing.assert_allclose(action, (np.array([GOAL, GOAL]) - [(0, 0), (1, 2)]) / 12, rtol=1e-6)
    assert not seen and agent.execute_steps == 1 and not agent.model.contexts
    assert [len(anchor) for anchor, _, _ in agent.model.reflex.asked] == [2, 2, 2]
    assert [ahead.tolist() for _, _, ahead in agent.model.reflex.asked] == [[4, 4], [3, 3], [2, 2]]
    assert (agent.stats.plans, agent.stats.reflexes) == (6, 6)
    assert [solve.iterations for solve in agent.stats.solves] == [0, 0, 0]


@pytest.mark.parametrize("seen", [1, 2, 3])
def test_further_blocks_are_those_of_where_the_first_ones_lead(seen):
    torch.manual_seed(1)
    model = tiny_model(context=3, reflex=8)
    predictor, bounds = model.predictor("prefix"), (model.low, model.high)
    context, goal = Context(torch.randn(3, seen, 16), torch.randn(3, seen - 1, 6)), torch.randn(3, 16)
    left = torch.tensor([1.0, 2.5, 9.0])
    with torch.no_grad():
        one = Reflex(policy=model.reflex, count=1, std=0.0)
        plans = one.plans(model, predictor, context, goal, 5, bounds, generators(0, 1, 2), left)
        assert plans.shape == (3, 1, 5, 6)
        for b in range(3):
            own = Context(*(x[b : b + 1] for x in context))
            slow = reflex_plan_slow(model, predictor, own, goal[b], float(left[b]), 5)
            torch.testing.assert_close(plans[b, 0], slow, rtol=1e-4, atol=1e-4)
        noisy = Reflex(policy=model.reflex, count=4, std=0.5)
        several = noisy.plans(model, predictor, context, goal, 5, bounds, generators(0, 1, 2), left)
    torch.testing.assert_close(several[:, 0], plans[:, 0])
    assert (several[:, 1:] - several[:, :1]).abs().amax(dim=(2, 3)).min() > 0.05


def test_how_far_goals_are():
    like = torch.zeros(1)
    assert steps_left([0, 5, 15, 25, 40], 25, 5, like).tolist() == [5.0, 4.0, 2.0, 5.0, 2.0]  # the same time again
    assert steps_left([0, 99], None, 5, like).tolist() == [reflex.UNKNOWN] * 2


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_both_begins_with_the_reflexs_plan_and_is_no_worse(planner):
    model = tiny_model(reflex=8)
    agent = make(model, planner=planner, controller="both", candidates=64, iterations=1)
    seen = watch(agent)
    agent.predict({"pixels": SHOWN[0], "goal": SHOWN[1]})
    cost_fn, start, proposals, plan = seen[0]
    count = 2 if planner == "categorical-cem" else COUNT + 1  # copies are told apart by noise alone
    assert proposals.shape == (5, count, 5, 6) and torch.equal(start, proposals[:, 0])
    alone = make(model, controller="reflex", execute_steps=5)
    _, state = alone.predict({"pixels": SHOWN[0], "goal": SHOWN[1]})
    assert torch.equal(torch.stack([row.plan for row in state.rows]), start)
    with torch.no_grad():
        assert bool((plan.cost <= cost_fn(start[:, None])[:, 0]).all())
    assert agent.stats.reflexes == 0


@pytest.mark.parametrize(("candidates", "proposed"), [(2, 1), (16, 15), (300, COUNT + 1)])
def test_candidates_are_left_to_the_search(candidates, proposed):
    agent = make(knowing(), controller="both", candidates=candidates, elites=1)
    seen = watch(agent)
    agent.predict(observe([(0, 0)], GOAL))
    assert seen[0][2].shape[1] == proposed


def test_who_acts_by_default_and_how_long():
    for model, controller, R in ((FakeModel(), "search", 5), (knowing(), "both", 1)):
        agent = make(model)
        assert (agent.controller, agent.execute_steps) == (controller, R)

    class Blind(GoalDistance):
        reads_goal = False

    assert make_agent(knowing(), objective=Blind(), **SEARCH).controller == "search"
    assert make_agent(knowing(), proposal=lambda z, goal: 0 * z, **SEARCH).controller == "search"
    assert AgentConfig(controller="reflex").steps_executed == 1
    assert AgentConfig(controller="reflex", execute_steps=3).steps_executed == 3


def test_a_search_from_the_reflexs_plan_stays_near_it_unless_told_otherwise():
    agent = make_agent(FakeModel())
    for options, wanted in (
        ({}, (0.3, 3, 100)),
        ({"controller": "search"}, (1, 10, 300)),
        ({"iterations": 7, "init_std": 0.5}, (0.5, 7, 100)),
        ({"elites": 150}, (0.3, 3, 300)),  # which 100 candidates could not be
        ({"proposal": lambda z, goal: 0 * z, "controller": "both"}, (1, 10, 300)),
    ):
        search = make_agent(knowing(), **options).planner.config
        assert (search.init_std, search.iterations, search.candidates) == wanted
    assert make_agent(knowing(), init_std=0.2).guide.std == 0.2  # the reflex's copies are as near
    assert NEAR.keys() == {name for name in PLANNERS if "init_std" in kinds(name)}
    assert make_agent(knowing(), planner="mppi").planner.config.init_std == 0.3
    with pytest.raises(BadValue, match="expected search, reflex or both, got auto"):
        Agent(FakeModel(), agent.planner, AgentConfig(), agent.actions)


@pytest.mark.parametrize(("controller", "far"), [("both", [True, True, False, False, False]), ("search", [False] * 5)])
def test_the_reflex_acts_alone_while_the_goal_is_beyond_the_horizon(controller, far):
    agent = make(knowing(), controller=controller, goal_offset=15, horizon=3, execute_steps=1)
    seen, solve, state = [], agent._solve, None

    def watch(rows, z_goal, objective, until, alone):
        seen.append(alone)
        return solve(rows, z_goal, objective, until, alone)

    agent._solve = watch
    for _ in range(30):  # who is not there in time has the same time again
        _, state = agent.predict(observe([(0, 0)], GOAL), state)
    assert seen == far + far and agent.stats.reflexes == sum(seen)


def test_plans_without_a_search_say_nothing_about_the_time_of_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    options = dict(iterations=100, horizon=2, execute_steps=1, controller="both", goal_offset=30)
    agent = make(knowing(Slow, now), deadline_ms=150, **options)
    least, state = agent._least, None
    assert least > 0 and agent.reflexive_steps == 24  # it was built by searching, though the first goals are far
    for _ in range(24):
        _, state = agent.predict(observe([(0, 0)], GOAL), state)
    assert agent.stats.reflexes == agent.stats.plans == 8 and (agent._least, agent._hope) == (least, 1.0)
    agent.predict(observe([(0, 0)], GOAL), state)
    assert agent.stats.reflexes == 8 and agent.stats.solves[-1].iterations > 0


def test_a_policy_of_ones_own_takes_the_reflexs_place():
    proposal = Proposal(policy=lambda z, goal: torch.full_like(z, 0.25), count=3)
    agent = make_agent(FakeModel(), proposal=proposal, controller="both", **SEARCH)
    seen = watch(agent)
    agent.predict(observe([(0, 0)], GOAL))
    assert seen[0][2].shape[1] == 3
    (row,) = agent.replan(list(agent.begin([0]).rows), observe([(0, 0)])["pixels"], observe([(0, 0)])["goal"], ms=0.0)
    np.testing.assert_allclose(row.queue, 0.25)  # no time: what the policy would do


def test_where_there_is_no_time_for_the_search_the_reflex_acts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    options = dict(iterations=100, horizon=2, execute_steps=2, controller="both", goal_offset=6)
    ample = make(knowing(Slow, now), deadline_ms=150, **options)  # acting one step ahead takes 20 ms
    state = None
    for _ in range(12):
        _, state = ample.predict(observe([(0, 0)], GOAL), state)
    assert [solve.iterations for solve in ample.stats.solves] == [6, 6] and ample.stats.reflexes == 0
    assert all(taken <= 150 for taken in ample.stats.milliseconds)

    tight = make(knowing(Slow, now), deadline_ms=30, **options)  # not also an iteration
    state = None
    for step in range(12):
        action, state = tight.predict(observe([(0, 0)], GOAL), state)
        if step == 0:
            np.testing.assert_allclose(action, [np.array(GOAL) / 6], rtol=1e-6)
    assert [solve.iterations for solve in tight.stats.solves] == [0, 0]
    assert (tight.stats.plans, tight.stats.reflexes) == (2, 2)
    assert all(taken <= 30 for taken in tight.stats.milliseconds)
    with pytest.raises(BadValue, match="deadline_ms: 10 is too short: encoding and the reflex take 20.0 ms here"):
        make(knowing(Slow, now), deadline_ms=10, **options)
    quick = make(knowing(Slow, now), deadline_ms=10, **options | {"controller": "reflex", "execute_steps": 1})
    assert quick.stats.plans == 0  # it predicts nothing


def test_after_one_slow_search_others_are_tried_again(monkeypatch):
    now, woken = [0.0], []

    class Hiccup(Slow):
        def arrivals(self, *arguments):
            now[0] += 0.0 if woken else 1.0  # as a first plan may take
            woken.append(True)
            return super().arrivals(*arguments)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    options = dict(horizon=2, execute_steps=2, controller="both", goal_offset=6)
    agent, state = make(knowing(Hiccup, now), deadline_ms=150, **options), None
    for _ in range(6 * 30):
        _, state = agent.predict(observe([(0, 0)], GOAL), state)
    searched = [solve.iterations > 0 for solve in agent.stats.solves]
    assert searched == sorted(searched) and 0 < sum(not one for one in searched) < 25
    before = agent.stats.reflexes
    agent.predict(observe([(0, 0)] * 4, GOAL))  # a search takes as long for all of them together, which is not known
    assert agent.stats.reflexes == before + 4


def test_both_tries_what_is_left_of_the_last_plan():
    agent = make(knowing(), controller="both", execute_steps=2)
    seen, state = watch(agent), None
    for _ in range(7):  # F = 3: plans at 0 and 6
        _, state = agent.predict(observe([(0, 0), (1, 2)], GOAL), state)
    (*_, first, plan), (_, start, second, _) = seen
    assert not first[:, -1].any()  # there is none before the first
    torch.testing.assert_close(second[:, -1, :3], plan.actions[:, 2:])
    assert not second[:, -1, 3:].any() and torch.equal(start, second[:, 0])
    cold = make(knowing(), controller="both", execute_steps=2, warm_start=False)
    seen = watch(cold)
    cold.predict(observe([(0, 0)], GOAL))
    assert seen[0][2].shape[1] == 14


def test_agents_travel(tmp_path):
    for controller in ("reflex", "both"):
        agent = tiny_model(reflex=8).agent(controller=controller, **SEARCH)
        agent.save(tmp_path / controller)
        loaded = Agent.load(tmp_path / controller)
        assert loaded.controller == controller
        found = [one.predict({"pixels": SHOWN[0], "goal": SHOWN[1]})[0] for one in (agent, loaded)]
        np.testing.assert_array_equal(*found)


def test_a_robot_begins_by_reflex():
    """The first plan takes for ever; until then the robot does what the reflex would do, H blocks of it."""
    asked = []

    class Never:
        def submit(self, function, *arguments):
            asked.append(arguments)
            return self

        def done(self):
            return False

        def shutdown(self, wait):
            pass

    model = tiny_model(reflex=8)
    controller = Controller(model.agent(goal=SHOWN[1][0], **SEARCH), worker=Never)
    given = np.stack([controller.tick(SHOWN[0][0]) for _ in range(15)])
    alone = ServedAgent(model.agent(goal=SHOWN[1][0], controller="reflex", **SEARCH))
    expected = alone.plan([SHOWN[0][0]], np.empty((0, 2), np.float32), None, np.empty((0, 2), np.float32), 0)
    assert len(expected) == 15 and len(asked) == 1
    np.testing.assert_array_equal(given, expected)
    assert controller.report().held == 0
    controller.tick(SHOWN[0][0])
    assert controller.report().held == 1


def test_mistakes_are_one_line():
    for controller in ("reflex", "both"):
        with pytest.raises(BadValue, match=rf"controller: {controller} takes .* wm-train --heads reflex"):
            make(FakeModel(), controller=controller)
        with pytest.raises(BadValue, match=rf"controller: {controller} acts towards a goal, and the objective"):
            tiny_model(reflex=8, reward=8).agent(controller=controller, objective="reward")
    with pytest.raises(UnknownName, match="unknown controller 'reflx': did you mean 'reflex'"):
        make(knowing(), controller="reflx")
    with pytest.raises(BadValue, match="candidates: 1 have no room for the reflex's plan"):
        make(knowing(), controller="both", candidates=1, elites=1)
    with pytest.raises(BadValue, match="proposal: has no effect on the controller reflex"):
        make_agent(knowing(), proposal=lambda z, goal: z, controller="reflex")
