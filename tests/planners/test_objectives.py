"""Each objective against its formula, slowly; and what all of them promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.oracles import consistency_slow
from tests.planners.toys import Linear
from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context, Forecast
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import Function, GoalDistance, PathDistance, StateDistance, Sum
from worldmodel.planners.penalties import Effort, SelfConsistency, Smoothness
from worldmodel.probes import fit_linear, fit_mlp

H, F, D = 4, 3, 32  # of 32: beyond whole vectors a processor rounds SiLU differently, which is not what is tested here
LOW, HIGH = [-1.0, -40.0], [0.5, 100.0]


@pytest.fixture(scope="module")
def model():
    """A model whose actions are far from normalised: physical zero is at -0.25 and 0.5 of theirs."""
    model = tiny_model(context=2, latent_dim=D)
    model.set_actions([0.1, -20.0], [0.4, 40.0], LOW, HIGH)
    return model


@pytest.fixture(scope="module")
def probes():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(400, D, generator=g)
    return {"linear": fit_linear(z, z[:, :2] * 3 + 1), "mlp": fit_mlp(z, z[:, :2].abs())}


def scene(B=2, N=3, H=H, seen=2, D=D, seed=0):
    """Plans, goal and context; environment b and candidate n are the same whatever B and N."""
    g = torch.Generator().manual_seed(seed)
    plans = torch.randn(8, 32, H, 6, generator=g)[:B, :N]
    z, actions, goal = (torch.randn(8, *shape, generator=g)[:B] for shape in ((seen, D), (seen - 1, 6), (D,)))
    return plans, Context(z, actions), goal


def cost(objective, model, plans, context, goal, predictor="prefix"):
    with torch.no_grad():
        return Cost(model.predictor(predictor), objective, context, goal)(plans)


def every(model, probes):
    prefix = model.predictor("prefix")
    return {
        "l2": GoalDistance(),
        "cosine": GoalDistance(metric="cosine"),
        "best": GoalDistance((1, 3), "cosine"),
        "weighted": PathDistance(0.7),
        "state": StateDistance(probes["mlp"], [0.5, 1.0]),
        "goal state": StateDistance(probes["linear"], arrivals=(2, 4)),
        "effort": Sum(((0.0, GoalDistance()), (1.0, Effort(model)))),
        "smoothness": Sum(((0.0, GoalDistance()), (1.0, Smoothness(model)))),
        "consistency": SelfConsistency(jump=4, split=2, context=prefix.context),
        "function": Function(lambda z, u: (z[:, :, -1:] @ z[:, :, 0, :, None])[:, :, 0, 0] + u.sum((-1, -2)), model),
        "sum": Sum(((1.0, GoalDistance()), (2.0, PathDistance()), (0.5, Effort(model)), (3.0, Smoothness(model)))),
    }


NAMES = (
    "l2", "cosine", "best", "weighted", "state", "goal state", "effort", "smoothness", "consistency", "function", "sum"
)  # fmt: skip


@pytest.fixture(params=NAMES)
def objective(request, model, probes):
    return every(model, probes)[request.param]


def test_goal_distance_is_the_squared_norm():
    world, plans, goal = Linear(), torch.randn(2, 3, 7, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    cost = Cost(world, GoalDistance(), context, goal)(plans)
    assert cost.shape == (2, 3)
    z = world.rollout(context, plans)
    torch.testing.assert_close(cost[1, 2], (z[1, 2, -1] - goal[1]).norm() ** 2)


def test_cosine_is_one_minus_it_and_survives_zero():
    world, plans, goal = Linear(), torch.randn(2, 3, 7, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    cost = Cost(world, GoalDistance(metric="cosine"), context, goal)(plans)
    z = world.rollout(context, plans)[:, :, -1]
    torch.testing.assert_close(cost, 1 - torch.cosine_similarity(z, goal[:, None], dim=-1))
    assert (Cost(world, GoalDistance(metric="cosine"), context, 0 * goal)(plans) == 1).all()


def test_arrivals_take_each_candidates_best():
    world, plans, goal = Linear(), torch.randn(2, 6, 9, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    z = world.rollout(context, plans)
    expected = torch.stack([(z[:, :, t - 1] - goal[:, None]).square().sum(-1) for t in (2, 5, 9)]).amin(0)
    assert torch.equal(Cost(world, GoalDistance((2, 5, 9)), context, goal)(plans), expected)


def test_a_path_is_weighted_towards_its_end():
    world, plans, goal = Linear(), torch.randn(2, 6, 9, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    z = world.rollout(context, plans)
    each = (z - goal[:, None, None]).square().sum(-1)
    torch.testing.assert_close(Cost(world, PathDistance(1.0), context, goal)(plans), each.mean(-1))
    assert PathDistance(0.5).steps(9) == (3, 4, 5, 6, 7, 8, 9)  # 0.5 ** 7 is less than a hundredth
    weights = torch.tensor([0.5**6, 0.5**5, 0.5**4, 0.5**3, 0.25, 0.5, 1.0])
    expected = (each[:, :, 2:] * weights).sum(-1) / weights.sum()
    torch.testing.assert_close(Cost(world, PathDistance(0.5), context, goal)(plans), expected)
    assert PathDistance(0.001).steps(9) == (9,)
    assert torch.equal(
        Cost(world, PathDistance(0.001), context, goal)(plans), Cost(world, GoalDistance(), context, goal)(plans)
    )


def test_effort_is_zero_at_physical_zero_and_one_at_the_bounds(model):
    _, context, goal = scene(B=1)
    rest, full = torch.zeros(1, 1, H * F, 2), torch.tensor([-1.0, 100.0]).expand(1, 1, H * F, 2)
    half = torch.cat([full[:, :, :6] / 2, rest[:, :, 6:]], dim=2)  # half the reach for half the time
    plans = model.normalise(torch.cat([rest, full, half], dim=1).reshape(1, 3, H, 2 * F))
    value = Effort(model)(forecast(model, plans, context, goal))
    torch.testing.assert_close(value, torch.tensor([[0.0, 1.0, 0.125]]))
    assert value.abs().argmin() == 0 and not plans[0, 0].any(dim=-1).logical_not().any()  # not at the mean action


def test_smoothness_counts_jumps_between_blocks_and_from_the_last_action(model):
    u = torch.zeros(1, 3, H * F, 2)
    u[0, 1, 3:, 1] = 50.0  # one jump of half the reach, between two blocks
    u[0, 2, :, 0] = -0.5  # steady from the beginning
    plans = model.normalise(u.reshape(1, 3, H, 2 * F))
    start = Context(torch.zeros(1, 1, D), torch.zeros(1, 0, 6))
    value = Smoothness(model)(forecast(model, plans, start, torch.zeros(1, D)))
    torch.testing.assert_close(value, torch.tensor([[0.0, 0.25 / 22, 0.0]]))
    before = torch.tensor([0.3, 70.0] * (F - 1) + [-0.5, 0.0])  # only the last one executed matters
    moving = Context(torch.zeros(1, 2, D), model.normalise(before)[None, None])
    value = Smoothness(model)(forecast(model, plans, moving, torch.zeros(1, D)))
    torch.testing.assert_close(value, torch.tensor([[0.25 / 24, 0.5 / 24, 0.0]]))


def test_one_action_alone_is_smooth():
    model = tiny_model(action_block=1)
    plans, context = torch.randn(1, 2, 1, 2), Context(torch.zeros(1, 1, D), torch.zeros(1, 0, 2))
    assert (Smoothness(model)(forecast(model, plans, context, torch.zeros(1, D))) == 0).all()


def forecast(model, plans, context, goal, steps=(H,)):
    predictor = model.predictor("prefix")
    steps = tuple(step for step in steps if step <= plans.shape[2])
    z = torch.zeros(*plans.shape[:2], len(steps), D)
    return Forecast(z, steps, plans, goal, context, predictor)


@pytest.mark.parametrize("C", [1, 2, 3])
@pytest.mark.parametrize("seen", [1, 2, 3])
@pytest.mark.parametrize(("jump", "split"), [(4, 2), (4, 1), (4, 3), (2, 1)])
def test_self_consistency_is_the_distance_to_two_hops(C, seen, jump, split):
    model = tiny_model(context=C, latent_dim=D)
    plans, context, goal = scene(H=6, seen=min(seen, C))
    term = SelfConsistency(jump=jump, split=split, context=C)
    assert len(term.steps(6)) == min(C, split) + 1
    value = cost(term, model, plans, context, goal)
    torch.testing.assert_close(value, consistency_slow(model.predictor("prefix"), context, plans, jump, split))
    assert value.min() > 1e-3
    angle = cost(SelfConsistency(jump=jump, split=split, context=C, metric="cosine"), model, plans, context, goal)
    assert angle.min() > 0 and angle.max() <= 2


def test_a_world_that_composes_is_self_consistent():
    plans, context, goal = scene(D=4)
    seen = []

    class Watched(Linear):
        def arrivals(self, context, plans, steps):
            seen.append(context)
            return super().arrivals(context, plans, steps)

    value = Cost(Watched(width=6), SelfConsistency(jump=4, split=2, context=3), context, goal)(plans)
    assert (value < 1e-9).all()
    # C latents one model step apart, and the blocks between them: now, after one step, after two
    assert seen[1].z.shape == (6, 3, 4) and torch.equal(seen[1].actions, plans[:, :, :2].flatten(0, 1))
    assert torch.equal(seen[1].z[:, 0], context.z[:, -1].repeat_interleave(3, dim=0))


def test_state_distance_is_in_standard_deviations_of_what_is_read(model, probes):
    plans, context, goal = scene()
    z = cost_path(model, plans, context)
    for probe in probes.values():
        read = torch.stack([probe(z[b, n]) for b in range(2) for n in range(3)]).view(2, 3, H, 2)
        target = torch.tensor([0.5, 1.0])
        expected = ((read - target) / probe.std).square().sum(-1)
        torch.testing.assert_close(
            cost(StateDistance(probe, [0.5, 1.0]), model, plans, context, goal), expected[..., -1]
        )
        best = cost(StateDistance(probe, (0.5, 1.0), arrivals=(1, 3)), model, plans, context, goal)
        torch.testing.assert_close(best, torch.minimum(expected[..., 0], expected[..., 2]))
        toward = cost(StateDistance(probe), model, plans, context, goal)
        wanted = probe(goal)[:, None]
        torch.testing.assert_close(toward, ((read[:, :, -1] - wanted) / probe.std).square().sum(-1))
    with pytest.raises(BadValue, match="target: expected the 2 numbers"):
        StateDistance(probes["linear"], [1.0, 2.0, 3.0])


def cost_path(model, plans, context):
    with torch.no_grad():
        return model.predictor("prefix").rollout(context, plans)


def test_a_function_sees_every_latent_and_the_environments_actions(model):
    plans, context, goal = scene()
    seen = []

    def mine(latents, actions):
        seen.append((latents, actions))
        return latents[:, :, -1, 0] + actions[:, :, -1, 1]

    value = cost(Function(mine, model), model, plans, context, goal)
    (latents, actions), z = seen[0], cost_path(model, plans, context)
    assert torch.equal(latents, z) and actions.shape == (2, 3, H * F, 2)
    torch.testing.assert_close(actions.reshape(2, 3, H, 6), model.denormalise(plans))
    torch.testing.assert_close(value, z[:, :, -1, 0] + actions[:, :, -1, 1])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda z, u: z.square().sum(-1),
            r"expected costs \(B, N\) = \(2, 3\).*\(2, 3, 4, 32\).*got shape \(2, 3, 4\)",
        ),
        (lambda z, u: z.sum((-1, -2))[0], r"got shape \(3,\)"),
        (lambda z, u: 0.0, "got float"),
        (lambda z, u: None, "got NoneType"),
    ],
)
def test_a_function_that_returns_no_costs_is_named(model, function, words):
    with pytest.raises(BadValue, match=words):
        cost(Function(function, model), model, *scene())


def test_a_sum_predicts_once_what_its_terms_read(model):
    terms = ((2.0, GoalDistance((1, 3))), (0.5, GoalDistance((2,), "cosine")), (3.0, Effort(model)))
    plans, context, goal = scene()
    asked = []

    class Spied:
        max_prefix = 4

        def arrivals(self, context, plans, steps):
            asked.append(steps)
            return model.predictor("prefix").arrivals(context, plans, steps)

    with torch.no_grad():
        value = Cost(Spied(), Sum(terms), context, goal)(plans)
    assert asked == [(1, 2, 3)]
    effort = Effort(model)(forecast(model, plans, context, goal))
    parts = [cost(term, model, plans, context, goal) for _, term in terms[:2]]
    torch.testing.assert_close(value, 2 * parts[0] + 0.5 * parts[1] + 3 * effort)


# What all of them promise


def test_rows_are_bit_equal_whatever_else_is_in_the_call(objective, model):
    together = cost(objective, model, *scene(B=5, N=17))
    for B, N in ((1, 1), (1, 17), (5, 1), (3, 2)):
        assert torch.equal(cost(objective, model, *scene(B=B, N=N)), together[:B, :N])


def test_costs_are_float32_under_autocast_and_differentiable(objective, model):
    plans, context, goal = scene()
    exact = cost(objective, model, plans, context, goal)
    leaf = plans.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = Cost(model.predictor("prefix"), objective, context, goal)(leaf)
    assert value.dtype == torch.float32
    assert (value - exact).abs().max() < 0.1 * exact.abs().max() + 0.1
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    assert slope.isfinite().all() and slope.any()
    leaf = plans.clone().requires_grad_()
    (slope,) = torch.autograd.grad(Cost(model.predictor("prefix"), objective, context, goal)(leaf).sum(), leaf)
    step = 1e-3 * slope / slope.norm()
    rise = cost(objective, model, plans + step, context, goal) - cost(objective, model, plans - step, context, goal)
    assert math.isclose(float(rise.sum()), 2e-3 * float(slope.norm()), rel_tol=0.05)


class NothingAsked(TorchDispatchMode):
    """Refuses what would stop the host or need it: a number read, a tensor made of numbers, a list as an index."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split("::")[1].split(".")[0]
        assert name not in ("_local_scalar_dense", "lift_fresh", "nonzero", "is_nonzero", "masked_select"), name
        return function(*args, **(kwargs or {}))


def test_costs_ask_the_host_for_nothing(objective):
    plans, context, goal = scene()
    z = torch.randn(2, 3, len(objective.steps(H)), D)

    class Told:
        def arrivals(self, context, plans, steps):
            return torch.zeros(*plans.shape[:2], len(steps), D)

    seen = Forecast(z, objective.steps(H), plans, goal, context, Told())
    with NothingAsked():
        assert objective(seen).shape == (2, 3)
        for question in (
            lambda: z.sum().item(),
            lambda: z[:, :, [0]],
            lambda: torch.tensor([1.0]),
            lambda: bool(z.any()),
        ):
            with pytest.raises(AssertionError):
                question()


def test_equal_settings_are_equal_keys(model):
    def made():
        return Sum(((1.0, GoalDistance((2, 4), "cosine")), (0.1, Effort(model)), (0.2, Smoothness(model))))

    assert made() == made() and hash(made()) == hash(made())
    assert made() != Sum(((1.0, GoalDistance((2, 4))), (0.1, Effort(model)), (0.2, Smoothness(model))))
    assert Effort(model) != Effort(tiny_model()) and Effort(model) != Smoothness(model)
    with pytest.raises(BadValue, match="split"):
        SelfConsistency(jump=3, split=3)
