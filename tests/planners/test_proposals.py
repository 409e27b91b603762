"""A policy's own plans among the candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.oracles import policy_plan_slow
from tests.planners.test_agent import observe
from tests.planners.toys import BUDGET, FakeModel, generators, watch
from tests.worldmodel.tiny import tiny_config
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.options import make_agent
from worldmodel.planners.proposals import Proposal, as_proposal
from worldmodel.planners.registry import PLANNERS
from worldmodel.planners.settings import kinds

GOAL = (6, 4)


@pytest.fixture(params=sorted(PLANNERS))
def planner(request):
    return request.param


def perfect(z, goal):
    """Three of these actions lead as near to the goal as three can."""
    return ((goal - z) / 3).clamp(-1, 1)


def away(z, goal):
    return torch.full_like(z, -1e9)


def nowhere(z, goal):
    return torch.full_like(z, torch.nan)


def watched(planner, proposal=None, **options):
    """An agent, and the plans that its planner finds and what it is handed."""
    known = kinds(planner)
    given = {"candidates": 16, "elites": 4, "iterations": 1, "horizon": 3, "execute_steps": 1, **options}
    agent = make_agent(
        FakeModel(), proposal=proposal, planner=planner, **{k: v for k, v in given.items() if k in known}
    )
    return agent, watch(agent)


def test_the_plan_is_no_worse_than_a_perfect_proposal(planner):
    agent, seen = watched(planner, perfect)
    agent.predict(observe([(0, 0), (1, 2)], GOAL))
    plan = seen[0][-1]
    torch.testing.assert_close(plan.cost, torch.zeros(2), atol=1e-8, rtol=0.0)
    without, found = watched(planner)
    without.predict(observe([(0, 0), (1, 2)], GOAL))
    assert (found[0][-1].cost > 1e-3).all()  # one iteration alone does not get there


@pytest.mark.parametrize("policy", [away, nowhere])
def test_nothing_is_lost_by_a_terrible_proposal(planner, policy):
    costs = []
    for proposal in (None, policy):
        agent, seen = watched(planner, proposal, **BUDGET[planner] | {"candidates": 64, "elites": 8, "iterations": 8})
        agent.predict(observe([(0, 0)], GOAL))
        cost_fn, start, _, plan = seen[0]
        assert plan.actions.isfinite().all()
        assert (plan.cost <= cost_fn(start[:, None])[:, 0]).all() | (planner == "categorical-cem")
        costs.append(float(plan.cost))
    assert costs[1] < max(3 * costs[0], 1.0)  # staying costs 52


def test_the_policy_acts_on_what_its_own_actions_led_to():
    torch.manual_seed(0)
    model, head = WorldModel(tiny_config(one_step=None)).eval(), torch.nn.Linear(16, 2)
    with torch.no_grad():
        for parameter in model.parameters():  # modulation and fusion start at zero
            parameter.normal_(std=0.1)
    policy = lambda z, goal: 2 * torch.tanh(3 * head(z))  # noqa: E731, partly beyond the bounds
    predictor = model.predictor("prefix")
    torch.manual_seed(1)
    context = Context(torch.randn(3, 2, 16), torch.randn(3, 1, 6))
    found = Proposal(policy=policy, count=4, std=0.0).plans(
        model, predictor, context, None, 1, (model.low, model.high), generators(0, 1, 2), torch.ones(3)
    )
    assert found.shape == (3, 4, 1, 6)

    class Chained:
        """Predicts a step at a time, as the proposal does."""

        def rollout(self, context, plans):
            z, actions, path = context.z, context.actions, []
            for block in plans[:, 0].unbind(1):
                after = predictor.rollout(Context(z, actions), block[:, None, None])[:, 0]
                path.append(after)
                z, actions = torch.cat([z, after], 1)[:, -2:], torch.cat([actions, block[:, None]], 1)[:, -1:]
            return torch.cat(path, 1)[:, None]

    found = Proposal(policy=policy, count=4, std=0.0).plans(
        model, predictor, context, None, 5, (model.low, model.high), generators(0, 1, 2), torch.ones(3)
    )
    with torch.no_grad():
        for b in range(3):
            slow = policy_plan_slow(policy, model, Chained(), Context(*(x[b : b + 1] for x in context)), 5)
            for plan in found[b]:
                torch.testing.assert_close(plan, slow, rtol=1e-4, atol=1e-4)
    blocks = model.denormalise(found).unflatten(-1, (3, 2))
    assert torch.equal(blocks[..., 0, :], blocks[..., 2, :]) and blocks.abs().max() <= 1 + 1e-6
    assert found.diff(dim=2).abs().max() > 0.01  # it does look


@pytest.mark.parametrize("context", [1, 3])
def test_all_lengths_of_history_do(context):
    model = FakeModel(context=context)
    for seen in range(1, context + 1):
        told = Context(torch.zeros(1, seen, 2), torch.zeros(1, seen - 1, 6))
        Proposal(policy=perfect).plans(
            model, model, told, torch.ones(1, 2), 4, (model.low, model.high), generators(0), torch.ones(1)
        )
        lengths = [(x.z.shape[1], x.actions.shape[1]) for x in model.contexts]
        assert lengths == [(min(seen + k, context), min(seen + k, context) - 1) for k in range(3)]
        model.contexts.clear()


def test_noise_is_that_of_the_row_and_spares_the_first():
    model = FakeModel()
    told = Context(torch.zeros(2, 1, 2), torch.zeros(2, 0, 6))

    def plans(*seeds, std=0.2):
        return Proposal(policy=lambda z, goal: 0 * z, count=5, std=std).plans(
            model, model, told, None, 6, (model.low, model.high), generators(*seeds), torch.ones(2)
        )

    found = plans(1, 2)
    assert torch.equal(found, plans(1, 2)) and torch.equal(found[0], plans(1, 3)[0])
    assert not torch.equal(found[1], plans(1, 3)[1])
    quiet = plans(1, 2, std=0.0)
    assert torch.equal(found[:, 0], quiet[:, 0]) and torch.equal(quiet[:, 0], quiet[:, 4])
    spread = (found - quiet)[:, 1:]
    assert 0.15 < spread.std() < 0.25 and torch.allclose(spread[..., :2], spread[..., 4:], atol=1e-6)  # held


def test_the_search_may_start_from_the_policys_own_plan():
    agent, seen = watched("cem", Proposal(policy=perfect, start=True))
    agent.predict(observe([(0, 0)], GOAL))
    _, start, proposals, _ = seen[0]
    assert torch.equal(start, proposals[:, 0]) and proposals.shape[1] == 8 + 1  # and the rest of its last one


def test_elites_that_are_handed_over_are_tried_as_well():
    agent, seen = watched("icem", Proposal(policy=perfect, count=3), elites=8, reuse=0.5, execute_steps=1)
    state = None
    for step in range(4):
        _, state = agent.predict(observe([(step, 0), (0, step)], GOAL), state)
    (_, _, first, plan), (_, _, second, _) = seen
    assert first.shape[1] == 3 and second.shape[1] == 4 + 3
    assert torch.equal(second[:, :4, :-1], plan.elites[:, :, 1:])


@pytest.mark.parametrize("name", sorted(set(PLANNERS) - {"gradient", "cem-gradient"}))  # see Cost
def test_a_row_plans_the_same_whichever_rows_accompany_it(name):
    torch.manual_seed(0)
    model = WorldModel(tiny_config())
    head = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
    policy = lambda z, goal: head(torch.cat([z, goal], 1))  # noqa: E731
    shown = np.random.default_rng(0).integers(0, 255, (2, 5, 16, 16, 3), np.uint8)
    own = {f: v for f, v in dict(elites=4).items() if f in kinds(name)}
    agent = model.agent(proposal=policy, planner=name, candidates=16, iterations=2, horizon=6, **own)
    together, _ = agent.predict({"pixels": shown[0], "goal": shown[1]}, agent.begin(range(5)))
    for row in range(5):
        one = slice(row, row + 1)
        alone, _ = agent.predict({"pixels": shown[0][one], "goal": shown[1][one]}, agent.begin([row]))
        np.testing.assert_array_equal(alone, together[one])


def test_mistakes_are_one_line(tmp_path):
    model = FakeModel()
    for proposal, message in [
        (3, "proposal: expected a function"),
        (Proposal, "proposal: expected a function"),
        (lambda z: z, r"proposal: expected a function of \(latents, goals\), too many positional arguments"),
        (Proposal(policy=perfect, count=16), "proposal: 16 plans leave none of 16 candidates"),
    ]:
        with pytest.raises(BadValue, match=message):
            make_agent(model, proposal=proposal, candidates=16, elites=4)
    with pytest.raises(BadValue, match="9 plans and 7 kept elites leave none of 16 candidates"):
        make_agent(
            model, proposal=Proposal(policy=perfect, count=9), planner="icem", candidates=16, elites=14, reuse=0.5
        )
    for wrong in (dict(count=0), dict(std=-1.0), dict(std=float("nan"))):
        with pytest.raises(BadValue, match="proposal: expected count >= 1"):
            Proposal(policy=perfect, **wrong)
    for policy, got in ((lambda z, goal: z[:, :1], r"\(8, 1\)"), (lambda z, goal: None, "NoneType")):
        agent = make_agent(model, proposal=policy, candidates=16, elites=4)
        with pytest.raises(BadValue, match=rf"proposal: expected actions \(8, 2\) of latents \(8, 2\), got .*{got}"):
            agent.predict(observe([(0, 0)]))
    with pytest.raises(BadValue, match="proposal: one of your own cannot be saved"):
        make_agent(model, proposal=perfect, candidates=16, elites=4).save(tmp_path / "agent")
    assert as_proposal(Proposal(policy=perfect, count=2)).count == 2


def test_a_policy_is_told_of_no_goal_where_the_objective_looks_at_none():
    told = []

    def policy(z, goal):
        told.append(goal)
        return 0 * z

    class Blind(GoalDistance):
        reads_goal = False

    for objective in (None, Blind()):
        agent = make_agent(FakeModel(), objective=objective, proposal=policy, candidates=16, elites=4, horizon=1)
        agent.predict(observe([(0, 0)], GOAL))
    assert told[0].tolist() == [list(GOAL)] * 8 and told[1] is None
