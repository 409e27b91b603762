"""Geometry gives the answers that are known by hand, and two hops are what a predictor composes."""

from __future__ import annotations

import math

import pytest
import torch

from tests.oracles import rank_correlation_slow
from tests.worldmodel.tiny import tiny_model
from worldmodel.geometry import distances_to_end, rank_correlation, straightness, two_hops
from worldmodel.interfaces import Context


def test_straightness_is_one_on_a_line_and_the_cosine_of_every_turn_elsewhere() -> None:
    line = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0])
    assert float(straightness(line)) == pytest.approx(1)
    corner = torch.tensor([[0.0, 0], [1, 0], [1, 3], [1, 3], [1, 5]])  # a right angle, then a rest
    assert float(straightness(corner)) == pytest.approx(0)
    back = torch.tensor([[0.0, 0], [1, 0], [0, 0], [-2, 0]])
    assert float(straightness(back)) == pytest.approx(0)  # -1 and 1
    assert math.isnan(float(straightness(torch.ones(4, 2))))


def test_rank_correlation_equals_its_slow_twin_also_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 6, (2, 4, 9), generator=generator).float()
    found = rank_correlation(x, y)
    assert found.tolist() == pytest.approx([rank_correlation_slow(a.tolist(), b.tolist()) for a, b in zip(x, y)])
    rising = torch.arange(9.0)
    assert float(rank_correlation(rising.exp(), rising)) == pytest.approx(1)
    assert float(rank_correlation(-rising, rising)) == pytest.approx(-1)
    assert math.isnan(float(rank_correlation(torch.ones(9), rising)))


def test_distances_to_an_end_are_of_the_frames_before_it_nearest_first() -> None:
    z = torch.tensor([[0.0], [1], [3], [6], [10]])
    assert distances_to_end(z, 2).tolist() == [[2, 3], [3, 5], [4, 7]]


@pytest.mark.parametrize("seen", [1, 2])
def test_two_hops_are_the_composition_of_a_longer_plan(seen: int) -> None:
    model = tiny_model()
    generator = torch.Generator().manual_seed(0)
    z, actions = torch.randn(5, seen, 16, generator=generator), torch.randn(5, 7 + seen - 1, 6, generator=generator)
    past, future = Context(z, actions[:, : seen - 1]), actions[:, seen - 1 :]
    with torch.inference_mode():
        prefix, one_step = model.predictor("prefix"), model.predictor("one-step")
        composed = prefix.arrivals(past, future[:, None], (7,))[:, 0, 0]  # beyond max_prefix: a jump of 4, then of 3
        torch.testing.assert_close(two_hops(prefix, past, future, 4), composed)
        assert (
            float((two_hops(prefix, past, future[:, :4], 1) - two_hops(prefix, past, future[:, :4], 3)).norm()) > 1e-3
        )
        for split in (1, 3, 6):
            direct = one_step.arrivals(past, future[:, None], (7,))[:, 0, 0]
            torch.testing.assert_close(two_hops(one_step, past, future, split), direct)
