"""Noise in time, against the recursion that defines it."""

from __future__ import annotations

import pytest
import torch

from worldmodel.noise import coloured, correlate


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
    noise = torch.randn(6, H, F * a, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    before = noise.clone()
    torch.testing.assert_close(correlate(noise, 0.8, F), ar1_slow(noise, 0.8, F))
    rho = torch.linspace(0, 0.9, len(noise))
    each = torch.cat([ar1_slow(noise[i : i + 1], float(rho[i]), F) for i in range(len(noise))])
    torch.testing.assert_close(correlate(noise, rho[:, None, None], F), each)
    assert torch.equal(noise, before)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_correlated_noise_has_unit_std_and_the_stated_autocorrelation(rho):
    H, F, a = 4, 5, 2
    e = correlate(torch.randn(40_000, H, F * a, generator=torch.Generator().manual_seed(0)), rho, F)
    e = e.reshape(-1, H * F, a)
    torch.testing.assert_close(e.std(0), torch.ones(H * F, a), atol=0.02, rtol=0)
    for lag in (1, 2, 5):
        correlation = (e[:, lag:] * e[:, :-lag]).mean(0)
        torch.testing.assert_close(correlation, torch.full_like(correlation, rho**lag), atol=0.03, rtol=0)
    assert (e[..., 0] * e[..., 1]).mean().abs() < 0.01  # the action's components stay independent


@pytest.mark.parametrize(("H", "F"), [(1, 1), (1, 2), (3, 1), (4, 5)])
def test_coloured_noise_has_unit_std_and_the_stated_spectrum(H, F):
    T, a = H * F, 2
    white = torch.randn(40_000, H, F * a, generator=torch.Generator().manual_seed(0))
    e = coloured(white, 1.5, F).reshape(-1, T, a)
    torch.testing.assert_close(e.std(0), torch.ones(T, a), atol=0.02, rtol=0)
    angle = 2 * torch.pi * torch.arange(T)[:, None] * torch.arange(T) / T  # a slow Fourier transform
    power = ((angle.cos() @ e).square() + (angle.sin() @ e).square()).mean((0, 2))
    frequency = torch.tensor([max(1, min(k, T - k)) for k in range(T)])
    torch.testing.assert_close(power / power[0], frequency**-1.5, atol=0.02, rtol=0)
    assert (e[..., 0] * e[..., 1]).mean().abs() < 0.01


def test_coloured_noise_of_exponent_zero_is_white():
    white = torch.randn(2, 3, 4)
    assert torch.equal(coloured(white, 0, 2), white)
    torch.testing.assert_close(coloured(white, 1e-9, 2), white)
