"""Analytic worlds whose best plan is known, and a fake model that counts what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch

from worldmodel.interfaces import Context
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.registry import planner_class

BUDGET = {"cem": dict(candidates=300, elites=30, iterations=30, correlation=0.0)}  # to the optimum
QUICK = {"cem": dict(candidates=32, elites=6, iterations=3)}
INF = float("inf")


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def make(name, width=4, bound=INF, action_block=2, low=None, high=None, **options):
    cls = planner_class(name)
    low = torch.full((width,), -bound) if low is None else torch.as_tensor(low)
    high = torch.full((width,), bound) if high is None else torch.as_tensor(high)
    return cls(cls.Config(**{**QUICK[name], **options}), low, high, action_block)


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
    """|z_H - goal|^2 + effort |u|^2 over a linear world: a least-squares problem."""

    effort: float = 0.1

    def steps(self, horizon):
        return (horizon,)

    def __call__(self, forecast):
        return GoalDistance()(forecast) + self.effort * forecast.plans.square().sum((-1, -2))

    def optimum(self, world, z, goal, horizon):
        """Best plans (B, H, A) and their costs (B,), by solving the normal equations in float64."""
        M, G = world.M.double(), world.G.double()
        free = z.double() @ torch.linalg.matrix_power(M, horizon).T
        J = torch.cat([torch.linalg.matrix_power(M, horizon - 1 - t) @ G for t in range(horizon)], dim=1)
        lhs = J.T @ J + self.effort * torch.eye(J.shape[1], dtype=torch.double)
        u = torch.linalg.solve(lhs, ((goal.double() - free) @ J).T).T
        cost = (free + u @ J.T - goal.double()).square().sum(-1) + self.effort * u.square().sum(-1)
        return u.reshape(len(z), horizon, -1), cost


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

    def __init__(self, context=2, action_block=3, image_size=4):
        self.config = SimpleNamespace(context=context, action_block=action_block, action_dim=2, image_size=image_size)
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
