from __future__ import annotations

import pytest
import torch

from tests.planners.toys import generators
from worldmodel.planners.sampling import by_environment, pairwise_sum, shift_plan, white_noise


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


def test_a_function_is_asked_about_an_environment_as_if_alone():
    rows, other = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0))
    weight, seen = torch.randn(3, 2), []

    def ask(x, y):
        seen.append((x.shape, x.is_contiguous(), x.data_ptr() % 64))
        return (x + y) @ weight

    found = by_environment(ask, rows, other[:, :1].expand_as(rows))
    assert found.shape == (5, 7, 2) and seen == [((7, 3), True, 0)] * 5
    torch.testing.assert_close(found, (rows + other[:, :1]) @ weight)
    for b in range(5):
        one = by_environment(ask, rows[b : b + 1], other[b : b + 1, :1].expand(1, 7, 3))
        assert torch.equal(one[0], found[b])
    whole = by_environment(lambda x: x.sum(-1), rows.to("meta"))  # of an accelerator, at once
    assert whole.shape == (5, 7)
