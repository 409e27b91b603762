from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.planners.toys import Linear
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context
from worldmodel.planners.config import AgentConfig, CEMConfig
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance, arrival_steps, default_objective


def test_goal_distance_is_the_squared_norm():
    world, plans, goal = Linear(), torch.randn(2, 3, 7, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    cost = Cost(world, GoalDistance(), context, goal)(plans)
    assert cost.shape == (2, 3)
    z = world.rollout(context, plans)
    torch.testing.assert_close(cost[1, 2], (z[1, 2, -1] - goal[1]).norm() ** 2)


def test_arrivals_take_each_candidates_best():
    world, plans, goal = Linear(), torch.randn(2, 6, 9, 4), torch.randn(2, 4)
    context = Context(torch.randn(2, 1, 4), torch.zeros(2, 0, 4))
    z = world.rollout(context, plans)
    expected = torch.stack([(z[:, :, t - 1] - goal[:, None]).square().sum(-1) for t in (2, 5, 9)]).amin(0)
    assert torch.equal(Cost(world, GoalDistance((2, 5, 9)), context, goal)(plans), expected)


@pytest.mark.parametrize(
    ("horizon", "goal_steps", "steps"),
    [
        (5, 5, ()),
        (32, 32, ()),
        (8, 5, (5, 8)),
        (32, 5, (5, 8)),  # not later than twice the way
        (32, 16, (5, 8, 16, 32)),
        (10, 5, (5, 8, 10)),
        (8, 2, (5,)),  # the earliest there is
        (32, 0, (5,)),
        (20, 10, (5, 8, 16, 20)),
        (3, 1, ()),  # no arrival to choose but the last
        (32, None, (5, 8, 16, 32)),
        (5, None, ()),
    ],
)
def test_arrivals_are_read_when_the_horizon_exceeds_the_way(horizon, goal_steps, steps):
    assert arrival_steps(horizon, goal_steps) == steps


def test_default_objective_counts_the_goal_offset_in_environment_steps():
    assert default_objective(5, 5, 25).steps(5) == (5,)
    assert default_objective(5, 5, 21).steps(5) == (5,)  # 21 steps need five blocks
    assert default_objective(8, 5, 25).steps(8) == (5, 8)
    assert default_objective(32, 5, 160).steps(32) == (32,)


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
        (AgentConfig, {"arrivals": (5, 6)}, ["arrivals", "horizon"]),
        (AgentConfig, {"seed": -1}, ["seed"]),
    ],
)
def test_impossible_settings_are_named(cls, options, words):
    with pytest.raises(BadValue) as error:
        cls(**options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_configs_and_interfaces_need_no_torch():
    code = "import sys, worldmodel.planners.config, worldmodel.planners.registry, worldmodel.interfaces\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)
