"""SIGReg against reference values (2603.19312, 17 knots, B = 128), a slow twin, and what it is for."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import epps_pulley_slow
from worldmodel.sigreg import SIGReg, epps_pulley, quadrature, sigreg


@pytest.mark.parametrize(
    ("std", "reference", "tolerance"),
    [(1.0, 1.052, 0.05), (0.0, 51.46, 0.01), (0.5, 19.8, 0.5), (0.75, 5.26, 0.4), (1.5, 12.2, 0.6), (2.0, 31.9, 1.0)],
)
def test_reference_values(std: float, reference: float, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = std * torch.randn(128, 8, 64, generator=generator)
    assert float(SIGReg(1024)(z, generator)) == pytest.approx(reference, abs=tolerance)


def test_agrees_with_the_slow_twin() -> None:
    h = torch.randn(3, 40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.3 + 0.2
    t, weight = (x.double() for x in quadrature(17))
    torch.testing.assert_close(epps_pulley(h, t, weight), epps_pulley_slow(h), rtol=1e-6, atol=1e-6)


def test_gradient_is_right() -> None:
    h = torch.randn(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    t, weight = (x.double() for x in quadrature(5))
    assert torch.autograd.gradcheck(lambda x: epps_pulley(x, t, weight), h)


def test_scale_of_the_directions_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(3)
    z, directions = torch.randn(32, 2, 8, generator=generator), torch.randn(8, 16, generator=generator)
    t, weight = quadrature()
    torch.testing.assert_close(sigreg(z, directions, t, weight), sigreg(z, 7 * directions, t, weight))


@pytest.mark.parametrize("cloud", ["point", "line", "wide", "two lumps"])
def test_its_gradient_moves_any_cloud_towards_a_gaussian(cloud: str) -> None:
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(256, 1, 4, generator=generator)
    start = {
        "point": 0.01 * noise,
        "line": noise[..., :1] * torch.ones(4) + 0.01 * noise,
        "wide": 2 * noise,
        "two lumps": 0.2 * noise + 2 * torch.sign(noise[..., :1]),
    }[cloud]
    z = start.clone().requires_grad_()
    optimizer, term = torch.optim.Adam([z], lr=0.05), SIGReg(64)
    before = float(term(z.detach(), generator))
    for _ in range(300):
        optimizer.zero_grad()
        term(z, generator).backward()
        optimizer.step()
    after = float(term(z.detach(), generator))
    assert after < min(2.0, before / 2)
