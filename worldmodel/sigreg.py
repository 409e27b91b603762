"""SIGReg: latents that look Gaussian along every direction cannot collapse (2511.08544, as used by 2603.19312).

Shapes: T time steps, B windows, D latent width, P directions, Q knots.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def quadrature(knots: int = 17, end: float = 3.0) -> tuple[Tensor, Tensor]:
    """Knots t (Q,) on [0, end] and trapezoid weights (Q,), doubled for the symmetric half, windowed by exp(-t^2/2)."""
    t = torch.linspace(0.0, end, knots)
    weight = torch.full((knots,), 2 * end / (knots - 1))
    weight[[0, -1]] /= 2
    return t, weight * torch.exp(-t.square() / 2)


class _EppsPulley(torch.autograd.Function):
    """The statistic and its gradient in two passes over the samples, keeping nothing of the size samples x knots.

    ``exp(i t_q h)`` is the q-th power of ``exp(i t_1 h)``: one sine and cosine, then complex products in place.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, t: Tensor, weight: Tensor) -> Tensor:
        base = torch.polar(torch.ones_like(h), t[1] * h)
        power, gaps = base.clone(), []
        for q in range(1, len(t)):  # at t = 0 both characteristic functions are 1
            gaps.append(power.mean(dim=-2) - torch.exp(-t[q].square() / 2))
            power *= base
        gap = torch.stack(gaps, dim=-1)  # (..., P, Q - 1)
        ctx.save_for_backward(base, gap, t, weight)
        return h.shape[-2] * (gap.abs().square() @ weight[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        base, gap, t, weight = ctx.saved_tensors
        # d/dh_b of B w |gap|^2 = 2 w t (Im gap cos(t h_b) - Re gap sin(t h_b)) = -2 w t Im(exp(i t h_b) conj(gap)).
        factor = (gap * (2 * t * weight)[1:]).conj()
        power, total = base.clone(), torch.zeros_like(base)
        for q in range(len(t) - 1):
            total.addcmul_(power, factor[..., None, :, q])
            power *= base
        return -total.imag * grad[..., None, :], None, None


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
    statistic: Tensor = _EppsPulley.apply(h, t, weight)  # type: ignore[no-untyped-call]
    return statistic


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
