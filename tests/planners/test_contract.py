"""What every planner in the table promises."""

from __future__ import annotations

import pytest
import torch

from tests.planners.toys import BUDGET, DISCRETE, INF, LinearQuadratic, generators, legal, make, problem
from worldmodel.config import ModelConfig
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.registry import PLANNERS, planner_class

H = 5
SETTLING = [name for name in sorted(PLANNERS) if hasattr(planner_class(name).Config, "tolerance")]


@pytest.fixture(params=sorted(PLANNERS))
def name(request):
    return request.param


def equal(a, b):
    assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def tensors(plan):
    found = [part for part in plan if isinstance(part, torch.Tensor)]
    return [*found, plan.stats.curve.T]  # each (B, ...)


def alone(b, objective=LinearQuadratic()):  # noqa: B008
    """The cost function of environment b of eight."""
    _, world, z, goal = problem(B=8)
    return Cost(world, objective, Context(z[b : b + 1, None], torch.zeros(1, 0, 4)), goal[b : b + 1])


@pytest.mark.parametrize("options", [{}, {"correlation": 0.0, "decay": 2.0}])
def test_a_batch_equals_its_environments_alone_bit_for_bit(name, options):
    planner = make(name, bound=1.5, **options)
    start, proposals = legal(name, 8, H), legal(name, 8, 3, H, seed=6)
    together = planner.solve(problem(B=8)[0], start, generators(*range(8)), proposals)
    for b in range(8):
        own = planner.solve(alone(b), start[b : b + 1], generators(b), proposals[b : b + 1])
        assert all(torch.equal(x, y[b : b + 1]) for x, y in zip(tensors(own), tensors(together), strict=True))


@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
@pytest.mark.parametrize("name", [name for name in sorted(PLANNERS) if "gradient" not in name])  # see Cost
def test_with_a_real_predictor_too(name, predictor):
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(latent_dim=16, image_size=32)).eval()
    for parameter in model.parameters():  # modulation and fusion start at zero
        parameter.data.normal_(std=0.1)
    width, block = len(model.low), model.config.action_block
    planner = make(name, width=width, bound=1.0, action_block=block, candidates=16)
    z, goal = torch.randn(2, 4, 16, generator=generators(1)[0])

    def solve(*rows, chunk=0):
        context = Context(z[list(rows), None], torch.zeros(len(rows), 0, width))
        cost_fn = Cost(model.predictor(predictor), GoalDistance(), context, goal[list(rows)], chunk)
        with torch.no_grad():
            return planner.solve(cost_fn, torch.zeros(len(rows), H, width), generators(*rows))

    together = solve(0, 1, 2, 3)
    equal(solve(0, 1, 2, 3, chunk=7), together)
    for b in range(4):
        assert all(torch.equal(x, y[b : b + 1]) for x, y in zip(tensors(solve(b)), tensors(together), strict=True))


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
    seen = []
    watch = lambda plans: seen.append(plans.detach().clone()) or cost_fn(plans)  # noqa: E731
    for seeds in ((3, 4), (3, 5)):
        other = make(name, bound=1.0).solve(watch, start, generators(*seeds))
    assert torch.equal(other.actions[0], plans[0].actions[0])
    first, second = seen[0], seen[len(seen) // 2]
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([-0.2] * 4, [0.1] * 4),
        ([0.5, -INF, -1.0, 0.0], [INF, -0.5, 1.0, 0.0]),  # one-sided, ordinary, a single value
        ([-1e-6] * 4, [1e-6] * 4),
        ([-INF] * 4, [INF] * 4),
    ],
)
def test_scores_and_returns_only_legal_actions(name, low, high):
    cost_fn, *_ = problem(B=2)
    low, high = torch.tensor(low), torch.tensor(high)
    if name in DISCRETE and not (high - low).isfinite().all():
        with pytest.raises(BadValue, match=f"action bounds: {name}.*finite low < high"):
            make(name, low=low, high=high)
        return

    def watch(plans):
        assert (plans >= low).all() and (plans <= high).all()
        return cost_fn(plans)

    proposals = torch.full((2, 3, H, 4), 50.0)
    plan = make(name, low=low, high=high).solve(watch, torch.full((2, H, 4), -7.0), generators(0, 1), proposals)
    for actions in (plan.actions, plan.best):
        assert (actions >= low).all() and (actions <= high).all() and actions.isfinite().all()


def test_plans_in_the_precision_of_its_start(name):
    cost_fn, *_ = problem(B=2)
    start = legal(name, 2, H).double()
    plan = make(name).solve(cost_fn, start, generators(0, 1))
    assert all(part.dtype == torch.float64 for part in tensors(plan))
    assert (plan.cost < cost_fn(start[:, None])[:, 0]).all()


def test_first_candidate_is_the_start_and_proposals_are_the_last(name):
    seen = []
    cost_fn, *_ = problem(B=2)
    start, proposals = legal(name, 2, H), legal(name, 2, 3, H, seed=6)
    watch = lambda plans: seen.append(plans.detach().clone()) or cost_fn(plans)  # noqa: E731
    make(name).solve(watch, start, generators(0, 1), proposals)
    assert torch.equal(seen[0][:, 0], start) and torch.equal(seen[0][:, -3:], proposals)
    assert not torch.equal(seen[1][:, -3:], proposals)


def test_a_perfect_proposal_is_found(name):
    cost_fn, world, z, goal = problem(B=2)
    best, least = LinearQuadratic().optimum(world, z, goal, H)
    plan = make(name, bound=9.0).solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), best[:, None].float())
    torch.testing.assert_close(plan.cost.double(), least, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"candidates": 1, "elites": 1}, {"elites": 1}, {"elites": 32, "reuse": 0.99}])
@pytest.mark.parametrize("horizon", [1, H])
def test_smallest_sizes_give_finite_plans(name, options, horizon):
    cost_fn, *_ = problem(B=1)
    start = legal(name, 1, horizon)
    plan = make(name, **options).solve(cost_fn, start, generators(0))
    assert plan.actions.shape == plan.best.shape == plan.std.shape == (1, horizon, 4)
    assert all(part.isfinite().all() for part in tensors(plan)) and (plan.std >= 0).all()
    assert (plan.cost <= cost_fn(start[:, None])[:, 0]).all()
    if options.get("candidates") == 1 and name in ("cem", "mppi", "predictive-sampling"):
        assert torch.equal(plan.actions, start)


def test_some_nan_costs_are_avoided(name):
    cost_fn, *_ = problem(B=2)

    def half_nan(plans):
        return torch.where(plans[:, :, 0, 0] > 0, torch.nan, cost_fn(plans))

    plan = make(name, **{**BUDGET[name], "iterations": 10}).solve(
        half_nan, torch.full((2, H, 4), -0.1), generators(0, 1)
    )
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


def test_bad_options_are_named(name):
    for options, message in [
        (dict(candidates=0), "candidates"),
        (dict(iterations=0), "iterations"),
        (dict(init_std=0.0), "init_std"),
        (dict(elites=0), "elites"),
        (dict(elites=33), "elites: 33 cannot be kept of candidates: 32"),
        (dict(min_std=-1.0), "min_std"),
        (dict(tolerance=-1.0), "tolerance"),
        (dict(decay=0.5), "decay"),
        (dict(correlation=1.0), "correlation"),
        (dict(colour=-1.0), "colour"),
        (dict(momentum=1.0), "momentum"),
        (dict(reuse=1.0), "reuse"),
        (dict(temperature=0.0), "temperature"),
        (dict(rate=0.0), "rate"),
        (dict(descents=0), "descents"),
        (dict(smoothing=0.0), "smoothing"),
    ]:
        if hasattr(planner_class(name).Config, next(iter(options))):
            with pytest.raises(BadValue, match=message):
                make(name, **options)


def test_says_what_a_solve_took(name):
    cost_fn, *_ = problem(B=2)
    plan = make(name, iterations=7).solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1))
    stats = plan.stats
    assert stats.iterations == 7 and stats.milliseconds > 0 and stats.peak_mb > 1
    assert stats.curve.shape == (7, 2) and (stats.curve.diff(dim=0) <= 0).all()
    assert torch.equal(stats.curve[-1], plan.cost)


def test_one_iteration_is_finished_however_late_it_is(name):
    cost_fn, *_ = problem(B=2)
    start = torch.zeros(2, H, 4)
    late = make(name).solve(cost_fn, start, generators(0, 1), until=0.0)
    assert late.stats.iterations == 1 and (late.cost <= cost_fn(start[:, None])[:, 0]).all() | (name in DISCRETE)
    unhurried = make(name).solve(cost_fn, start, generators(0, 1), until=float("inf"))
    equal(unhurried, make(name).solve(cost_fn, start, generators(0, 1)))


@pytest.mark.parametrize("settling", SETTLING)
def test_an_environment_that_settles_early_keeps_its_plan(settling):
    _, world, z, goal = problem(B=3)
    planner = make(settling, bound=1.0, candidates=64, iterations=60, tolerance=0.02, decay=1.1)

    def solve(rows):
        context = Context(z[rows, None], torch.zeros(len(rows), 0, 4))
        cost_fn = Cost(world, LinearQuadratic(), context, goal[rows])
        return planner.solve(cost_fn, torch.zeros(len(rows), H, 4), generators(*rows))

    together = solve([0, 1, 2])
    singles = [solve([b]) for b in range(3)]
    iterations = [plan.stats.iterations for plan in singles]
    assert 1 < min(iterations) < max(iterations) == together.stats.iterations < 60
    for b, own in enumerate(singles):
        for x, y in zip(own[:4], together[:4]):
            assert torch.equal(x, y[b : b + 1])
        length = own.stats.iterations
        assert torch.equal(own.stats.curve, together.stats.curve[:length, b : b + 1])
        assert (together.stats.curve[length:, b] == own.cost).all()


@pytest.mark.parametrize("settling", SETTLING)
def test_populations_shrink_to_two_for_each_elite(settling):
    seen = []
    cost_fn, *_ = problem(B=1)
    planner = make(settling, iterations=5, elites=5, decay=1.5)
    watch = lambda plans: seen.append(plans.shape[1]) or cost_fn(plans)  # noqa: E731
    planner.solve(watch, torch.zeros(1, H, 4), generators(0))
    assert [n for n in seen if n > 5] == [32, 21, 14, 10, 10]
    assert [planner.population(i) for i in range(5)] == [32, 21, 14, 10, 10]


def test_an_unknown_planner_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'cem'"):
        planner_class("cen")


def test_a_search_cut_short_gives_the_cheapest_plan_it_saw(name):
    cost_fn, *_ = problem(B=2)
    plan = make(name).solve(cost_fn, torch.zeros(2, H, 4), generators(0, 1), until=0.0)
    assert plan.stats.iterations == 1 and torch.equal(plan.actions, plan.best)
