"""Analytic worlds whose best plan is known, and a fake model that counts what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import SimpleNamespace

import torch

from worldmodel.interfaces import Context
from worldmodel.planners.costs import Cost
from worldmodel.planners.registry import planner_class

BUDGET = {  # to the optimum of a linear-quadratic problem
    "cem": dict(candidates=400, elites=40, iterations=30, init_std=2.0, correlation=0.0),
    "icem": dict(candidates=400, elites=60, iterations=30, init_std=2.0, colour=0.0),
    "mppi": dict(candidates=200, iterations=20, correlation=0.0),
    "predictive-sampling": dict(candidates=200, iterations=40, init_std=0.5, correlation=0.0),
    "gradient": dict(candidates=4, iterations=150),
    "cem-gradient": dict(candidates=100, elites=20, iterations=20, correlation=0.0, descents=4, rate=0.1),
    "categorical-cem": dict(candidates=300, elites=20, iterations=10),
}
QUICK = dict(candidates=32, elites=6, iterations=3)
DISCRETE = ("categorical-cem",)
INF = float("inf")


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def make(name, width=4, bound=None, action_block=2, low=None, high=None, **options):
    """A small planner; options that it does not have are left out. Discrete ones choose between -1 and 1."""
    cls = planner_class(name)
    own = {f.name for f in fields(cls.Config)}
    config = cls.Config(**{key: value for key, value in {**QUICK, **options}.items() if key in own})
    bound = bound or (1.0 if name in DISCRETE else INF)
    low = torch.full((width,), -bound) if low is None else torch.as_tensor(low)
    high = torch.full((width,), bound) if high is None else torch.as_tensor(high)
    return cls(config, low, high, action_block)


def legal(name, *shape, seed=5, bound=1.0):
    """Random plans (*shape, 4) that a planner could think of itself: discrete ones choose one of two actions."""
    plans = torch.randn(*shape, 4, generator=generators(seed)[0])
    if name in DISCRETE:
        pairs = plans.unflatten(-1, (2, 2))
        plans = torch.where(pairs == pairs.amax(-1, keepdim=True), bound, -bound).flatten(-2)
    return plans


class Linear:
    """z' = M z + G u, computed elementwise, so that no row's rounding depends on the others."""

    max_prefix = 1

    def __init__(self, width=4, latent=4, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.M = torch.eye(latent) + 0.1 * torch.randn(latent, latent, generator=g)
        self.G = 0.3 * torch.randn(latent, width, generator=g)
        self.calls = 0

    def rollout(self, context, plans):
        self.calls += 1
        z, path = context.z[:, -1:].expand(-1, plans.shape[1], -1), []
        for u in plans.unbind(2):
            z = (z[..., None, :] * self.M).sum(-1) + (u[..., None, :] * self.G).sum(-1)
            path.append(z)
        return torch.stack(path, dim=2)

    def arrivals(self, context, plans, steps):
        return self.rollout(context, plans)[:, :, [step - 1 for step in steps]]


@dataclass(frozen=True)
class LinearQuadratic:
    """|z_H - goal|^2 + stage * sum of |z_t - goal|^2 over t < H + effort |u|^2 over a linear world: least squares."""

    effort: float = 0.1
    stage: float = 0.0

    def steps(self, horizon):
        return tuple(range(1, horizon + 1)) if self.stage else (horizon,)

    def __call__(self, forecast):
        away = (forecast.z - forecast.goal[:, None, None]).square().sum(-1)
        return away[..., -1] + self.stage * away[..., :-1].sum(-1) + self.effort * forecast.plans.square().sum((-1, -2))

    def optimum(self, world, z, goal, horizon):
        """Best plans (B, H, A) and their costs (B,), by solving the normal equations in float64."""
        M, G, z, goal = (x.double() for x in (world.M, world.G, z, goal))
        power = torch.linalg.matrix_power
        weight = [(self.stage if t < horizon else 1.0) ** 0.5 for t in range(1, horizon + 1)]
        miss = torch.cat(
            [w * (z @ power(M, t).T - goal) for t, w in enumerate(weight, 1)], dim=1
        )  # (B, H * D) at u = 0
        rows = [
            [power(M, t - s) @ G if s <= t else 0 * G for s in range(1, horizon + 1)] for t in range(1, horizon + 1)
        ]
        J = torch.cat([w * torch.cat(row, dim=1) for w, row in zip(weight, rows)])
        lhs = J.T @ J + self.effort * torch.eye(J.shape[1], dtype=torch.double)
        u = torch.linalg.solve(lhs, (-miss @ J).T).T
        cost = (miss + u @ J.T).square().sum(-1) + self.effort * u.square().sum(-1)
        return u.reshape(len(z), horizon, -1), cost


class TwoBasins:
    """Cost of the sum of all actions (x, y): a dead end to the right that costs 1 at best, and farther left the goal.

    Differentiable; the slope at zero leads to the dead end.
    """

    def __call__(self, plans):
        x = plans.unflatten(-1, (2, 2)).sum((2, 3))  # (B, N, 2)
        near = (x - x.new_tensor([2.0, 0.0])).square().sum(-1) + 1
        far = (x - x.new_tensor([-8.0, 0.0])).square().sum(-1)
        return torch.minimum(near, far)

    @staticmethod
    def in_far_basin(plans):
        """Which of the plans (B, H, A) end there."""
        return plans.unflatten(-1, (2, 2)).sum((1, 2))[:, 0] < -3


def problem(B=8, seed=1, objective=None, world=None, latent=4, chunk=0):
    """A linear-quadratic problem: cost function, world, z, goal; environment b is the same for every B."""
    g = torch.Generator().manual_seed(seed)
    z, goal = torch.randn(2, 64, latent, generator=g)[:, :B]
    world, objective = world or Linear(latent=latent), objective or LinearQuadratic()
    context = Context(z[:, None], torch.zeros(B, 0, 4))
    return Cost(world, objective, context, goal, chunk), world, z, goal


class FakeModel:
    """A world whose latent is a frame's first two bytes, moved by the sum of the primitive actions in a block."""

    predictors = ("one-step",)
    device = torch.device("cpu")
    max_prefix = 1
    reflex = None

    def __init__(self, context=2, action_block=3, image_size=4):
        self.config = SimpleNamespace(
            context=context, action_block=action_block, action_dim=2, image_size=image_size, latent_dim=2
        )
        self.mean, self.std = torch.tensor([0.1, -0.2]).repeat(action_block), torch.tensor(0.5)
        self.action_low, self.action_high = torch.full((2,), -1.0), torch.full((2,), 1.0)
        self.low = self.normalise(self.action_low.repeat(action_block))
        self.high = self.normalise(self.action_high.repeat(action_block))
        self.encoded, self.contexts = [], []

    def eval(self):
        return self

    def predictor(self, name):
        assert name == "one-step"
        return self

    def normalise(self, actions):
        return (actions - self.mean) / self.std

    def denormalise(self, actions):
        return actions * self.std + self.mean

    def encode(self, obs):
        pixels = obs["pixels"]
        assert pixels.dtype == torch.uint8 and pixels.ndim == 5
        self.encoded.append(pixels)
        return pixels[:, :, 0, 0, :2].float()

    def arrivals(self, context, plans, steps):
        if not self.contexts or self.contexts[-1] is not context:
            self.contexts.append(context)
        B, N, H, _ = plans.shape
        moved = self.denormalise(plans).reshape(B, N, H, -1, 2).sum(3).cumsum(2)
        return context.z[:, None, -1:] + moved[:, :, [step - 1 for step in steps]]


def watch(agent):
    """What its planner is asked, from now on, and finds."""
    solve, seen = agent.planner.solve, []

    def watched(cost_fn, start, noise, proposals=None, until=None):
        seen.append((cost_fn, start, proposals, solve(cost_fn, start, noise, proposals, until)))
        return seen[-1][-1]

    agent.planner.solve = watched
    return seen
