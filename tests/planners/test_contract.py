"""What every planner in the table promises."""

from __future__ import annotations

import pytest
import torch

from tests.planners.toys import BUDGET, INF, LinearQuadratic, generators, make, problem
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.interfaces import Context
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.registry import PLANNERS, planner_class

GAP = {"cem": 0.01}  # above the optimum, relative, mean over environments; five times that at worst
H = 5


@pytest.fixture(params=sorted(PLANNERS))
def name(request):
    return request.param


def equal(a, b):
    assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def tensors(plan):
    found = [part for part in plan if isinstance(part, torch.Tensor)]
    return [*found, plan.stats.curve.T]  # each (B, ...)


def test_reaches_the_linear_quadratic_optimum(name):
    cost_fn, world, z, goal = problem(B=32)
    _, least = LinearQuadratic().optimum(world, z, goal, H)
    plan = make(name, **BUDGET[name]).solve(cost_fn, torch.zeros(32, H, 4), generators(*range(32)))
    gap = cost_fn(plan.actions[:, None])[:, 0].double() / least - 1
    assert gap.min() > -1e-5 and gap.mean() < GAP[name] and gap.max() < 5 * GAP[name], gap
    best = plan.cost / least - 1
    assert best.min() > -1e-5 and best.mean() < GAP[name]


def test_finds_a_planted_goal_and_reports_the_cost_of_best(name):
    _, world, z, _ = problem(B=3)
    secret = 0.5 * torch.randn(3, 1, H, 4, generator=generators(9)[0])

    context = Context(z[:, None], torch.zeros(3, 0, 4))
    goal = world.arrivals(context, secret, (H,))[:, 0, 0]
    cost_fn = Cost(world, GoalDistance(), context, goal)
    plan = make(name, bound=2.0, **BUDGET[name]).solve(cost_fn, torch.zeros(3, H, 4), generators(0, 1, 2))
    assert (cost_fn(plan.actions[:, None]) < 1e-3 * cost_fn(torch.zeros(3, 1, H, 4))).all()
    torch.testing.assert_close(cost_fn(plan.best[:, None])[:, 0], plan.cost, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"correlation": 0.7}])
def test_a_batch_equals_its_environments_alone_bit_for_bit(name, options):
    planner = make(name, bound=1.5, **options)
    start = torch.randn(8, H, 4, generator=generators(5)[0])
    together = planner.solve(problem(B=8)[0], start, generators(*range(8)))
    for b in range(8):
        _, world, z, goal = problem(B=8)
        alone = one_environment(b, world, z, goal)
        own = planner.solve(alone, start[b : b + 1], generators(b))
        assert all(torch.equal(x, y[b : b + 1]) for x, y in zip(tensors(own), tensors(together), strict=True))


def one_environment(b, world, z, goal):

    return Cost(world, LinearQuadratic(), Context(z[b : b + 1, None], torch.zeros(1, 0, 4)), goal[b : b + 1])


@pytest.mark.parametrize("chunk", [1, 7, 31, 32, 1000])
def test_any_chunk_gives_the_same_plan(name, chunk):
    start = torch.zeros(3, H, 4)
    whole = make(name).solve(problem(B=3)[0], start, generators(0, 1, 2))
    cost_fn, world, *_ = problem(B=3, chunk=chunk)
    equal(make(name).solve(cost_fn, start, generators(0, 1, 2)), whole)
    assert world.calls >= -(-32 // chunk)


def test_is_deterministic_and_leaves_its_arguments_alone(name):
    cost_fn, *_ = problem(B=2)
    start = torch.full((2, H, 4), 9.0)
    plans = [make(name, bound=1.0).solve(cost_fn, start, generators(3, 4)) for _ in range(2)]
    equal(*plans)
    assert (start == 9).all()
    other = make(name, bound=1.0).solve(cost_fn, start, generators(3, 5))
    assert torch.equal(other.actions[0], plans[0].actions[0]) and not torch.equal(other.actions[1], plans[0].actions[1])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([-0.2] * 4, [0.1] * 4),
        ([0.5, -INF, -1.0, 0.0], [INF, -0.5, 1.0, 0.0]),  # one-sided, ordinary, a single value
        ([-1e-6] * 4, [1e-6] * 4),
    ],
)
def test_scores_and_returns_only_legal_actions(name, low, high):
    cost_fn, *_ = problem(B=2)
    low, high = torch.tensor(low), torch.tensor(high)

    def watch(plans):
        assert (plans >= low).all() and (plans <= high).all()
        return cost_fn(plans)

    proposals = torch.full((2, 3, H, 4), 50.0)
    plan = make(name, low=low, high=high).solve(watch, torch.full((2, H, 4), -7.0), generators(0, 1), proposals)
    for actions in (plan.actions, plan.best):
        assert (actions >= low).all() and (actions <= high).all() and actions.isfinite().all()


def test_first_candidate_is_the_start_and_proposals_are_the_last(name):
    seen = []
    cost_fn, *_ = problem(B=2)
    start, proposals = torch.randn(2, H, 4), torch.randn(2, 3, H, 4)
    make(name).solve(lambda plans: seen.append(plans.clone()) or cost_fn(plans), start, generators(0, 1), proposals)
    assert torch.equal(seen[0][:, 0], start) and torch.equal(seen[0][:, -3:], proposals)
    assert not torch.equal(seen[1][:, -3:], proposals)


def test_a_perfect_proposal_is_found(name):
    cost_fn, world, z, goal = problem(B=2)

    best, least = LinearQuadratic().optimum(world, z, goal, H)
    plan = make(name).solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), best[:, None].float())
    torch.testing.assert_close(plan.cost.double(), least, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"candidates": 1, "elites": 1}, {"elites": 1}, {"elites": 32}])
@pytest.mark.parametrize("horizon", [1, H])
def test_smallest_sizes_give_finite_plans(name, options, horizon):
    cost_fn, *_ = problem(B=1)
    plan = make(name, **options).solve(cost_fn, torch.full((1, horizon, 4), 0.3), generators(0))
    assert plan.actions.shape == (1, horizon, 4)
    assert all(part.isfinite().all() for part in tensors(plan))
    if options.get("candidates") == 1:
        assert torch.equal(plan.actions, torch.full((1, horizon, 4), 0.3))


def test_some_nan_costs_are_avoided(name):
    cost_fn, *_ = problem(B=2)

    def half_nan(plans):
        return torch.where(plans[:, :, 0, 0] > 0, torch.nan, cost_fn(plans))

    plan = make(name, **BUDGET[name]).solve(half_nan, torch.full((2, H, 4), -0.1), generators(0, 1))
    assert plan.cost.isfinite().all() and (plan.best[:, 0, 0] <= 0).all() and (plan.actions[:, 0, 0] <= 0.01).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_costs_that_are_all_nan_name_the_environment(name, value):
    cost_fn, *_ = problem(B=3)

    def broken(plans):
        cost = cost_fn(plans)
        cost[1] = value
        return cost

    with pytest.raises(WorldModelError, match="environment 1 has a finite cost.*NaN.*1 of 3"):
        make(name).solve(broken, torch.zeros(3, H, 4), generators(0, 1, 2))


def test_bad_arguments_are_named(name):
    cost_fn, *_ = problem(B=2)
    planner = make(name)
    with pytest.raises(BadValue, match="horizon"):
        planner.solve(cost_fn, torch.zeros(2, 0, 4), generators(0, 1))
    with pytest.raises(BadValue, match="start"):
        planner.solve(cost_fn, torch.zeros(2, H, 3), generators(0, 1))
    with pytest.raises(BadValue, match="generators"):
        planner.solve(cost_fn, torch.zeros(2, H, 4), generators(0))
    with pytest.raises(BadValue, match="proposals"):
        planner.solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), torch.zeros(2, 32, H, 4))
    with pytest.raises(BadValue, match="proposals"):
        planner.solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), torch.zeros(2, 3, H + 1, 4))
    with pytest.raises(BadValue, match="action bounds"):
        make(name, low=[0.0, 0, 0, 1], high=[1.0, 1, 1, 0])
    with pytest.raises(BadValue, match="action_block"):
        make(name, action_block=3)


def test_an_unknown_planner_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'cem'"):
        planner_class("cen")


def test_a_search_cut_short_gives_the_cheapest_plan_it_saw(name):
    cost_fn, *_ = problem(B=2)
    plan = make(name).solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), until=0.0)
    assert plan.stats.iterations == 1 and torch.equal(plan.actions, plan.best)
