"""Planning for reward, on a model with heads."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import expected_return_slow
from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance, Sum
from worldmodel.planners.reward import Reward


def posed(B: int = 2, N: int = 7, H: int = 6) -> tuple[Context, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    context = Context(torch.randn(B, 2, 16, generator=generator), torch.randn(B, 1, 6, generator=generator))
    return context, torch.zeros(B, 16), torch.randn(B, N, H, 6, generator=generator)


@pytest.mark.parametrize("value", [0, 8])
@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
@torch.no_grad()
def test_cost_is_minus_the_expected_return(predictor: str, value: int) -> None:
    model = tiny_model(reward=8, value=value)
    model.reward_scale.fill_(3.0)
    context, goal, plans = posed()
    found = Cost(model.predictor(predictor), Reward(model), context, goal)(plans)
    path = model.predictor(predictor).rollout(context, plans)
    for b in range(len(plans)):
        for n in range(plans.shape[1]):
            expected = expected_return_slow(model, context.z[b, -1], path[b, n], plans[b, n])
            assert float(found[b, n]) == pytest.approx(-expected, rel=1e-4, abs=1e-4)


@torch.no_grad()
def test_costs_are_the_same_in_any_pieces_and_company() -> None:
    model = tiny_model(reward=8, value=8)
    context, goal, plans = posed()
    whole = Cost(model.predictor("prefix"), Reward(model), context, goal)(plans)
    for chunk in (1, 3, 10):
        assert torch.equal(whole, Cost(model.predictor("prefix"), Reward(model), context, goal, chunk)(plans))
    alone = Cost(model.predictor("prefix"), Reward(model), Context(*(x[1:] for x in context)), goal[1:])(plans[1:])
    assert torch.equal(whole[1:], alone)


def test_it_needs_a_head_and_no_goal() -> None:
    with pytest.raises(BadValue, match=r"'reward' needs a model with a reward head.*--heads reward,value"):
        tiny_model().agent(objective="reward")
    model = tiny_model(reward=8)
    assert not Reward(model).reads_goal and not Sum([(1.0, Reward(model))]).reads_goal
    assert Sum([(1.0, Reward(model)), (1.0, GoalDistance())]).reads_goal


def test_an_agent_for_reward_plans_every_step_and_needs_no_goal() -> None:
    agent = tiny_model(reward=8, value=8).agent(objective="reward", candidates=8, elites=2, iterations=2)
    assert agent.execute_steps == 1 and tiny_model().agent().execute_steps == 5
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8).numpy()
    actions, state = agent.predict(pixels)
    assert actions.shape == (3, 2)
    for _ in range(3):
        actions, state = agent.predict(pixels, state)
    assert agent.stats.plans == 6  # a block of three actions each
    with pytest.raises(BadValue, match="score: 'best' has no effect"):
        tiny_model(reward=8).agent(objective="reward", score="best")
