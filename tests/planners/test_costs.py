from __future__ import annotations

import pytest
import torch

from tests.planners.toys import LinearQuadratic, problem
from worldmodel.config import ModelConfig
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.planners.costs import Cost
from worldmodel.planners.objectives import GoalDistance


class Counted(LinearQuadratic):
    """Remembers how many candidates of how many environments each call held."""

    def __call__(self, forecast):
        CALLS.append(tuple(forecast.plans.shape[:2]))
        return super().__call__(forecast)


CALLS: list[tuple[int, int]] = []


@pytest.mark.parametrize(
    ("chunk", "calls"),
    [
        (0, [(3, 10)]),
        (30, [(3, 10)]),
        (29, [(2, 10), (1, 10)]),  # whole environments while they fit
        (10, [(1, 10)] * 3),
        (9, [(1, 9), (1, 1)] * 3),
        (4, [(1, 4), (1, 4), (1, 2)] * 3),
    ],
)
def test_costs_come_in_pieces_of_at_most_a_chunk(chunk, calls):
    plans = torch.randn(3, 10, 5, 4, generator=torch.Generator().manual_seed(0))
    CALLS.clear()
    cost = problem(B=3, objective=Counted(), chunk=chunk)[0](plans)
    assert calls == CALLS
    assert torch.equal(cost, problem(B=3)[0](plans))


@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
def test_pieces_change_neither_costs_nor_slopes(predictor):
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(latent_dim=16, image_size=32)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    context = Context(torch.randn(3, 2, 16), torch.randn(3, 1, len(model.low)))
    plans, goal = torch.randn(3, 20, 9, len(model.low)), torch.randn(3, 16)

    def judged(chunk):
        leaf = plans.clone().requires_grad_()
        cost_fn = Cost(model.predictor(predictor), GoalDistance((5, 9)), context, goal, chunk)
        cost = cost_fn(leaf)
        (slope,) = torch.autograd.grad((cost * torch.arange(20)).sum(), leaf)
        with torch.no_grad():
            return cost_fn(plans), cost.detach(), slope

    whole, *differentiated = judged(60)
    for chunk in (40, 20, 7, 1):
        cost, *pieces = judged(chunk)
        assert torch.equal(cost, whole)
        assert torch.equal(pieces[0], differentiated[0])
        torch.testing.assert_close(pieces[1], differentiated[1], rtol=1e-4, atol=1e-6)
