from __future__ import annotations

import pytest
import torch

from tests.planners.toys import generators
from worldmodel.planners.sampling import pairwise_sum, shift_plan, white_noise


def test_each_environment_draws_from_its_own_stream():
    like = torch.empty(0)
    both = white_noise(generators(1, 2), (3, 4, 5), like)
    assert torch.equal(both[1:], white_noise(generators(2), (3, 4, 5), like))
    assert not torch.equal(both[0], both[1])


def test_shifting_drops_what_was_executed_and_keeps_the_length():
    plan = torch.arange(1.0, 7.0).reshape(1, 3, 2)
    assert shift_plan(plan, 1).tolist() == [[[3, 4], [5, 6], [0, 0]]]
    assert shift_plan(plan, 3).tolist() == shift_plan(plan, 9).tolist() == [[[0, 0]] * 3]


@pytest.mark.parametrize("K", [1, 2, 3, 7, 30])
def test_pairwise_sum_is_the_sum(K):
    x = torch.randn(2, K, 3, 4, dtype=torch.double)
    torch.testing.assert_close(pairwise_sum(x), x.sum(1))
