"""Probes read what is there, linear or not, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from worldmodel.probes import fit_linear, fit_mlp, linear_probe, mlp_probe

FIT = 1000


def circle() -> tuple[Tensor, Tensor]:
    """Latents (1300, 16) on a noisy circle; sine and cosine of the angle, those of twice the angle, and noise."""
    generator = torch.Generator().manual_seed(0)
    angle = (torch.rand(1300, 1, generator=generator) * 2 - 1) * math.pi
    y = torch.cat([angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()], dim=1)
    noise = torch.randn(1300, 17, generator=generator)
    return y[:, :2] @ torch.randn(2, 16, generator=generator) + 0.02 * noise[:, 1:], torch.cat([y, noise[:, :1]], dim=1)


def test_both_read_what_is_linear_and_the_mlp_alone_what_is_not() -> None:
    z, y = circle()
    linear, mlp = (probe(z[:FIT], y[:FIT], z[FIT:], y[FIT:]) for probe in (linear_probe, mlp_probe))
    assert linear[:2].min() > 0.99 and mlp[:2].min() > 0.99
    assert linear[2:4].max() < 0.1 and mlp[2:4].min() > 0.9
    assert -0.2 < linear[4] < 0.1 and -0.2 < mlp[4] < 0.1  # nothing is read from nothing, nor much lost by trying


def test_the_linear_probe_is_least_squares() -> None:
    z, y = (x.double() for x in circle())
    ones = torch.ones(len(z), 1, dtype=z.dtype)
    weight = torch.linalg.lstsq(torch.cat([z[:FIT], ones[:FIT]], dim=1), y[:FIT, :2]).solution
    rest = torch.cat([z, ones], dim=1)[FIT:] @ weight - y[FIT:, :2]
    by_hand = 1 - rest.var(dim=0, correction=0) / y[FIT:, :2].var(dim=0, correction=0)
    torch.testing.assert_close(linear_probe(z[:FIT], y[:FIT, :2], z[FIT:], y[FIT:, :2]), by_hand, atol=1e-3, rtol=0)


def test_the_mlp_probe_repeats_itself_in_inference_mode_and_leaves_the_random_state() -> None:
    z, y = circle()
    first = mlp_probe(z[:FIT], y[:FIT], z[FIT:], y[FIT:])
    before = torch.get_rng_state()
    with torch.inference_mode():
        again = mlp_probe(z[:FIT] * 1, y[:FIT] * 1, z[FIT:] * 1, y[FIT:] * 1)
    assert torch.equal(first, again) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probe", [linear_probe, mlp_probe])
def test_latents_that_say_nothing_or_something_new_are_survived(probe) -> None:  # type: ignore[no-untyped-def]
    z, y = circle()
    assert probe(torch.ones(FIT, 16), y[:FIT], torch.ones(300, 16), y[FIT:]).max() < 0.05
    dead = z.clone()
    dead[:, 0] = 1.0
    dead[FIT:, 0] = 2.0  # a pixel that first changes in the test
    assert probe(dead[:FIT], y[:FIT], dead[FIT:], y[FIT:])[:2].min() > 0.9


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
def test_a_probe_reads_any_shape_in_float32_differentiably(fit) -> None:  # type: ignore[no-untyped-def]
    z, y = circle()
    probe = fit(z[:FIT].double(), y[:FIT, :2].double())
    read = probe(z[FIT:])
    assert (read - y[FIT:, :2]).abs().max() < 0.2 and read.dtype == torch.float32
    torch.testing.assert_close(probe.std, y[:FIT, :2].std(dim=0))
    assert torch.equal(probe(z[FIT:].view(3, 4, 25, 16)), read.view(3, 4, 25, 2))
    assert all(torch.equal(probe(z[FIT : FIT + n]), read[:n]) for n in (1, 3, 17, 40))  # whatever is read beside it
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(probe(z[FIT:]), read)
    leaf = z[FIT:].clone().requires_grad_()
    (slope,) = torch.autograd.grad(probe(leaf).sum(), leaf)
    assert slope.isfinite().all() and slope.any(dim=1).all()


def test_the_mlp_probe_scores_what_it_fits() -> None:
    z, y = circle()
    read = fit_mlp(z[:FIT], y[:FIT])(z[FIT:]).double()
    rest = (read - y[FIT:]).square().sum(dim=0) / (y[FIT:] - y[FIT:].mean(dim=0)).square().sum(dim=0)
    torch.testing.assert_close(mlp_probe(z[:FIT], y[:FIT], z[FIT:], y[FIT:]), 1 - rest, atol=1e-4, rtol=0)
