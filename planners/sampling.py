"""Random candidates, one noise stream per environment, and the first guess from an old plan.

Shapes: B environments, N candidates, H horizon (model steps), F action block, a action size, A = F * a.
"""

from __future__ import annotations

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
