"""Recorded solves against plain ones; a processor stands in for the accelerator by running every part again."""

from __future__ import annotations

import itertools
import time
from contextlib import nullcontext

import pytest
import torch

from tests.planners.toys import FakeModel, Linear, generators, make, problem
from worldmodel.config import ModelConfig
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.planners import captured
from worldmodel.planners.captured import Recorded, Replay
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.problem import Problem
from worldmodel.planners.registry import PLANNERS

H = 5


def leaves(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [] if found is None else [leaf for part in found for leaf in leaves(part)]


def run_again(function):
    """Record as CUDA graphs do: the results lie where they lay at first, and are filled from what is there now."""
    result = function()

    def run():
        new = [x.clone() for x in leaves(function())]
        for place, x in zip(leaves(result), new, strict=True):
            place.copy_(x)

    return Replay(result, run)


def recorded(planner):
    return Recorded(planner, run_again)


def equal(plan, other):
    for name in ("actions", "cost", "best", "std", "elites"):
        x, y = getattr(plan, name), getattr(other, name)
        assert x is y is None or torch.equal(x, y), name
    assert torch.equal(plan.stats.curve, other.stats.curve)
    assert plan.stats.iterations == other.stats.iterations


@pytest.fixture(params=sorted(PLANNERS))
def planner(request):
    return make(request.param, bound=2.0)


@pytest.mark.parametrize("B", [1, 2, 3])
def test_a_replayed_solve_is_the_planners_own(planner, B):
    fast, world = recorded(planner), problem()[1]
    for seed in (1, 2, 3):
        cost_fn, *_ = problem(B=B, seed=seed, world=world)
        start = 0.1 * torch.randn(B, H, 4, generator=generators(seed)[0])
        seeds = [seed + 10 * b for b in range(B)]
        plain = planner.solve(cost_fn, start, generators(*seeds))
        equal(fast.solve(cost_fn, start, generators(*seeds)), plain)


def test_proposals_are_filled_in_too(planner):
    fast, world = recorded(planner), problem()[1]
    for seed in (1, 2):
        cost_fn, *_ = problem(B=2, seed=seed, world=world)
        start, proposals = torch.zeros(2, H, 4), torch.randn(2, 3, H, 4, generator=generators(seed)[0])
        plain = planner.solve(cost_fn, start, generators(5, 6), proposals)
        equal(fast.solve(cost_fn, start, generators(5, 6), proposals), plain)


def test_a_plan_outlives_the_next_one():
    fast, (cost_fn, *_) = recorded(make("cem")), problem(B=1)
    one = fast.solve(cost_fn, torch.zeros(1, H, 4), generators(1))
    kept = one.actions.clone()
    fast.solve(cost_fn, torch.ones(1, H, 4), generators(2))
    assert torch.equal(one.actions, kept)


def test_one_recording_serves_every_solve_of_its_kind(monkeypatch):
    monkeypatch.setattr(captured, "KEPT", 2)
    made, world = [], problem(B=1)[1]

    def record(function):
        made.append(function)
        return run_again(function)

    fast = Recorded(make("cem", iterations=3), record)

    def solve(B, until=None):
        cost_fn, *_ = problem(B=B, world=world, objective=GoalDistance())
        fast.solve(cost_fn, torch.zeros(B, H, 4), generators(*range(B)), until=until)
        return len(made)

    assert [solve(1), solve(1), solve(17), solve(18)] == [1, 1, 2, 2]  # 17 environments are padded to 18
    assert solve(2) == 3  # and the first recording is forgotten
    assert [solve(18), solve(1)] == [3, 4]
    assert solve(1, until=time.perf_counter() + 60) == 7  # the host looks at the clock after each of three iterations


def test_the_host_comes_in_between_where_it_decides():
    cost_fn, *_ = problem(B=3)
    start = torch.zeros(3, H, 4)
    late = recorded(make("cem")).solve(cost_fn, start, generators(0, 1, 2), until=time.perf_counter())
    assert late.stats.iterations == 1
    equal(late, make("cem").solve(cost_fn, start, generators(0, 1, 2), until=time.perf_counter()))
    settling = make("cem", iterations=30, tolerance=0.1, elites=4)
    plain = settling.solve(cost_fn, start, generators(0, 1, 2))
    assert 1 < plain.stats.iterations < 30
    equal(recorded(settling).solve(cost_fn, start, generators(0, 1, 2)), plain)


def test_a_cost_of_unknown_tensors_is_not_recorded():
    cost_fn, *_ = problem(B=1)
    fast = Recorded(make("cem"), lambda function: pytest.fail("recorded"))
    start = torch.zeros(1, H, 4)
    plain = fast.search.solve(cost_fn, start, generators(0))
    equal(fast.solve(lambda plans: cost_fn(plans), start, generators(0)), plain)


@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_real_predictor_is_replayed(predictor, frames):
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(latent_dim=16, image_size=32)).eval()
    for parameter in model.parameters():  # modulation and fusion start at zero
        parameter.data.normal_(std=0.1)
    width = len(model.low)
    plain = make("cem", low=model.low, high=model.high, action_block=model.config.action_block)
    fast = recorded(plain)
    with torch.no_grad():
        for seed in (1, 2):
            g = generators(seed)[0]
            context = Context(torch.randn(3, frames, 16, generator=g), torch.randn(3, frames - 1, width, generator=g))
            cost = Cost(model.predictor(predictor), GoalDistance(), context, torch.randn(3, 16, generator=g))
            start = torch.zeros(3, 9, width)
            equal(fast.solve(cost, start, generators(1, 2, 3)), plain.solve(cost, start, generators(1, 2, 3)))


def test_an_agent_on_a_processor_records_nothing():
    from worldmodel.planners.options import make_agent

    assert not isinstance(make_agent(FakeModel()).planner, Recorded)
    assert not captured.recordable(torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "predictor"),
    [*((name, "linear") for name in PLANNERS), *itertools.product(("cem", "gradient"), ("one-step", "prefix"))],
)
def test_a_search_asks_the_host_for_nothing(name, predictor, monkeypatch):
    """A tensor without numbers refuses to be read by the host, and to be mixed with one that lies elsewhere."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # such tensors do not know it
    nowhere = torch.device("meta")
    model = WorldModel(ModelConfig(latent_dim=16, image_size=32)).eval().to(nowhere)
    search = make(name, width=len(model.low), bound=2.0, action_block=model.config.action_block, iterations=2)
    world = Linear(len(model.low), 16)
    world.M, world.G = world.M.to(nowhere), world.G.to(nowhere)
    predicts = world if predictor == "linear" else model.predictor(predictor)
    context = Context(torch.empty(2, 2, 16, device=nowhere), torch.empty(2, 1, len(model.low), device=nowhere))
    cost = Cost(predicts, GoalDistance((5, 9)), context, torch.empty(2, 16, device=nowhere), chunk=40)
    start = torch.empty(2, 9, len(model.low), device=nowhere)
    problem = Problem(cost, start, search.low, search.high, lambda n: start.new_empty(2, n, *start.shape[1:]))
    with torch.no_grad():
        state = search.begin(problem)
        for iteration in range(search.config.iterations):
            state = search.advanced(state, problem, iteration)
        actions, std = search.result(state, problem)
    assert actions.shape == std.shape == start.shape and problem.best_cost.shape == (2,)
    with pytest.raises(Exception, match="meta|Meta"):
        bool(problem.best_cost[0] > 0)
