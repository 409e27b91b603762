"""Random candidates, one noise stream per environment, and the first guess from an old plan.

Shapes: B environments, N candidates, H horizon (model steps), F action block, a action size, A = F * a.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def white_noise(generators: Sequence[torch.Generator], shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Draw standard normal noise (B, *shape), each environment from its own generator.

    An environment's noise therefore does not depend on which others are planned with it. The generators live on the
    device of ``like``, whose dtype is used.
    """
    noise = like.new_empty((len(generators), *shape))
    for row, generator in zip(noise, generators, strict=True):
        row.normal_(generator=generator)
    return noise


def correlate(noise: Tensor, correlation: float, action_block: int) -> Tensor:
    """Turn white noise into AR(1) noise over primitive steps, inside model steps and across them.

    ``e_t = rho e_(t-1) + sqrt(1 - rho^2) w_t`` with ``e_0 = w_0``, so every e_t has unit standard deviation and
    ``corr(e_t, e_(t+k)) = rho^k``. Computed by doubling, in log2(H F) elementwise passes instead of H F steps.

    Args:
        noise: w, (..., H, A).
        correlation: rho in [0, 1), between consecutive primitive actions.
        action_block: F, so that A = F * a.

    Returns:
        e, (..., H, A).
    """
    if correlation == 0:
        return noise
    *lead, H, A = noise.shape
    e = noise.reshape(*lead, H * action_block, A // action_block).clone()  # (..., H * F, a)
    e[..., 1:, :] *= math.sqrt(1 - correlation**2)
    shift = 1
    while shift < e.shape[-2]:  # e_t now sums rho^j u_(t-j) over j < shift
        e = torch.cat([e[..., :shift, :], e[..., shift:, :] + correlation**shift * e[..., :-shift, :]], dim=-2)
        shift *= 2
    return e.reshape(noise.shape)


def shift_plan(plan: Tensor, steps: int) -> Tensor:
    """Drop the ``steps`` executed model steps of a plan (..., H, A) and append mean actions (zeros), keeping H."""
    steps = min(steps, plan.shape[-2])
    return torch.cat([plan[..., steps:, :], torch.zeros_like(plan[..., :steps, :])], dim=-2)


def pairwise_sum(x: Tensor) -> Tensor:
    """Sum over dimension 1 by adding halves.

    Elementwise additions in a fixed order round the same however many environments or threads share the call, which
    a library's reduction does not promise.
    """
    while x.shape[1] > 1:
        half = x.shape[1] // 2
        x = torch.cat([x[:, :half] + x[:, half : 2 * half], x[:, 2 * half :]], dim=1)
    return x[:, 0]
