"""SIGReg: latents that look Gaussian along every direction cannot collapse (2511.08544, as used by 2603.19312).

Shapes: T time steps, B windows, D latent width, P directions, Q knots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def quadrature(knots: int = 17, end: float = 3.0) -> tuple[Tensor, Tensor]:
    """Knots t (Q,) on [0, end] and weights (Q,) of the trapezoid rule, doubled for the symmetric half, windowed by exp(-t^2/2)."""
    t = torch.linspace(0.0, end, knots)
    weight = torch.full((knots,), 2 * end / (knots - 1))
    weight[[0, -1]] /= 2
    return t, weight * torch.exp(-t.square() / 2)


def epps_pulley(h: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """Distance of samples from N(0, 1) by their characteristic function.

    ``B * sum_q w_q |mean_b exp(i t_q h_b) - exp(-t_q^2 / 2)|^2``; about 1.05 for true Gaussian samples whatever B, and
    0.402 B when all samples are 0.

    Args:
        h: samples, (..., B, P); neither centred nor scaled, since mean 0 and variance 1 are part of the test.
        t: knots (Q,), equally spaced from 0.
        weight: quadrature weights (Q,).

    Returns:
        One statistic a direction, (..., P).
    """
    # exp(i t_q h) is the q-th power of exp(i t_1 h): one sine and cosine, then complex products.
    base = torch.complex((t[1] * h).cos(), (t[1] * h).sin())
    power, statistic = torch.ones_like(base), torch.zeros(h.shape[:-2] + h.shape[-1:], device=h.device, dtype=h.dtype)
    for t_q, w_q in zip(t[1:], weight[1:]):  # at t = 0 both characteristic functions are 1
        power = power * base
        gap = power.mean(dim=-2) - torch.exp(-t_q.square() / 2)
        statistic = statistic + w_q * (gap.real.square() + gap.imag.square())
    return h.shape[-2] * statistic


def sigreg(z: Tensor, directions: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """Mean Epps-Pulley statistic over time steps and unit directions, in float32.

    Args:
        z: latents (B, T, D); the statistic runs over B, separately for each of the T steps.
        directions: (D, P), any length; normalised here.
        t: knots (Q,).
        weight: quadrature weights (Q,).

    Returns:
        A scalar.
    """
    unit = directions / directions.norm(dim=0, keepdim=True)
    return epps_pulley(z.float().transpose(0, 1) @ unit, t, weight).mean()


class SIGReg(nn.Module):
    """SIGReg with directions drawn anew at every call: (B, T, D) -> scalar.

    Args:
        projections: P, random directions.
        knots: Q, quadrature points.
    """

    t: Tensor
    weight: Tensor

    def __init__(self, projections: int = 1024, knots: int = 17) -> None:
        super().__init__()
        self.projections = projections
        t, weight = quadrature(knots)
        self.register_buffer("t", t, persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        directions = torch.randn(z.shape[-1], self.projections, generator=generator, device=z.device)
        return sigreg(z, directions, self.t, self.weight)
