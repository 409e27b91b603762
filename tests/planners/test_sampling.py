from __future__ import annotations

import pytest
import torch

from tests.planners.toys import generators
from worldmodel.planners.sampling import correlate, pairwise_sum, shift_plan, white_noise


def ar1_slow(noise, rho, F):
    """The recursion as it is written, one primitive step after another."""
    N, H, A = noise.shape
    w = noise.reshape(N, H * F, A // F)
    e = [w[:, 0]]
    for t in range(1, H * F):
        e.append(rho * e[-1] + (1 - rho**2) ** 0.5 * w[:, t])
    return torch.stack(e, dim=1).reshape(N, H, A)


@pytest.mark.parametrize(("H", "F", "a"), [(1, 1, 1), (1, 5, 2), (3, 5, 2), (4, 4, 3), (32, 5, 2)])
def test_correlated_noise_equals_the_recursion(H, F, a):
    noise = torch.randn(6, H, F * a, generator=generators(0)[0], dtype=torch.double)
    before = noise.clone()
    torch.testing.assert_close(correlate(noise, 0.8, F), ar1_slow(noise, 0.8, F))
    assert torch.equal(noise, before)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_correlated_noise_has_unit_std_and_the_stated_autocorrelation(rho):
    H, F, a = 4, 5, 2
    e = correlate(white_noise(generators(0), (40_000, H, F * a), torch.empty(0)), rho, F)[0]
    e = e.reshape(-1, H * F, a)
    torch.testing.assert_close(e.std(0), torch.ones(H * F, a), atol=0.02, rtol=0)
    for lag in (1, 2, 5):
        correlation = (e[:, lag:] * e[:, :-lag]).mean(0)
        torch.testing.assert_close(correlation, torch.full_like(correlation, rho**lag), atol=0.03, rtol=0)
    assert (e[..., 0] * e[..., 1]).mean().abs() < 0.01  # the action's components stay independent


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
