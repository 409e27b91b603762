"""SIGReg: latents that look Gaussian along every direction cannot collapse (2511.08544, as used by 2603.19312).

Shapes: T time steps, B windows, D latent width, P directions, Q knots.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from worldmodel import distributed
from worldmodel.blocks import at_least_float32

END = 3.0  # of the integral


def quadrature(knots: int = 17) -> tuple[Tensor, Tensor]:
    """Knots t (Q,) on [0, 3] and trapezoid weights (Q,), doubled for the symmetric half, windowed by exp(-t^2/2)."""
    t = torch.linspace(0.0, END, knots)
    weight = torch.full((knots,), 2 * END / (knots - 1))
    weight[[0, -1]] /= 2
    return t, weight * torch.exp(-t.square() / 2)


class _CharacteristicSum(torch.autograd.Function):
    """``sum_b exp(i t_q h_b)`` and its gradient in two passes over the samples, keeping nothing of samples x knots.

    ``exp(i t_q h)`` is the q-th power of ``exp(i t_1 h)``: one sine and cosine, then complex products in place.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, t: Tensor) -> Tensor:
        base = torch.polar(torch.ones_like(h), t[1] * h)
        power, sums = base.clone(), []
        for _ in range(1, len(t)):  # at t = 0 every term is 1
            sums.append(power.sum(dim=-2))
            power *= base
        ctx.save_for_backward(base, t)
        return torch.view_as_real(torch.stack(sums, dim=-1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        base, t = ctx.saved_tensors
        # With the gradient g, g' of a sum's two parts, d/dh_b = t (g' cos - g sin) = -t Im(exp(i t h_b) conj(g + ig')).
        factor = (torch.view_as_complex(grad.contiguous()) * t[1:]).conj()
        power, total = base.clone(), torch.zeros_like(base)
        for q in range(len(t) - 1):
            total.addcmul_(power, factor[..., None, :, q])
            power *= base
        return -total.imag, None


def epps_pulley(h: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """Distance of samples from N(0, 1) by their characteristic function.

    ``B * sum_q w_q |mean_b exp(i t_q h_b) - exp(-t_q^2 / 2)|^2``; about 1.05 for true Gaussian samples whatever B, and
    0.402 B when all samples are 0. In several processes the samples of all are one batch: their characteristic
    functions are added up before anything is squared.

    Args:
        h: samples, (..., B, P); neither centred nor scaled, since mean 0 and variance 1 are part of the test.
        t: knots (Q,), equally spaced from 0.
        weight: quadrature weights (Q,).

    Returns:
        One statistic a direction, (..., P).
    """
    sums: Tensor = distributed.total(_CharacteristicSum.apply(h, t))  # type: ignore[no-untyped-call]
    count = h.shape[-2] * distributed.size()
    real, imaginary = (sums / count).unbind(-1)  # (..., P, Q - 1); both are exact at t = 0
    gap = (real - torch.exp(-t[1:].square() / 2)).square() + imaginary.square()
    return count * (gap @ weight[1:])


def sigreg(z: Tensor, directions: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """Mean Epps-Pulley statistic over time steps and unit directions, at least in float32.

    Args:
        z: latents (B, T, D); the statistic runs over B, separately for each of the T steps.
        directions: (D, P), any length; normalised here.
        t: knots (Q,).
        weight: quadrature weights (Q,).

    Returns:
        A scalar.
    """
    unit = directions / directions.norm(dim=0, keepdim=True)
    return epps_pulley(at_least_float32(z).transpose(0, 1) @ unit, t, weight).mean()


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
        return sigreg(z, directions.to(self.t.dtype), self.t, self.weight)
