"""Random candidates, one noise stream per environment, and the first guess from an old plan.

Shapes: B environments, N or n candidates, K elites, H horizon (model steps), F action block, a action size, A = F * a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def by_environment(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Ask somebody's function of rows (M, ...) about several environments: (B, M, ...) each -> (B, M, ...).

    On a processor it is asked about one environment after another, of newly aligned memory, so that the rounding of its
    products does not depend on their company.
    """
    if rows[0].device.type == "cpu":
        return torch.stack(
            [function(*(x.clone(memory_format=torch.contiguous_format) for x in own)) for own in zip(*rows)]
        )
    return function(*(x.flatten(0, 1) for x in rows)).unflatten(0, rows[0].shape[:2])


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


def around(mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """Candidates (B, n, H, A) about a plan (B, H, A), which is itself the first: noise (B, n, H, A) times the std."""
    plans = mean[:, None] + std[:, None] * noise
    plans[:, 0] = mean
    return plans


def cheapest(plans: Tensor, cost: Tensor, count: int) -> Tensor:
    """Keep the cheapest plans of each environment, best first: (B, n, H, A) and cost (B, n) -> (B, count, H, A).

    Of equal costs the earlier plan goes first, so that the choice is the same on every device.
    """
    order = cost.argsort(dim=1, stable=True)[:, :count]
    return plans.take_along_dim(order[:, :, None, None], dim=1)


def fit(elites: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of K plans: (B, K, H, A) -> two of (B, H, A); the std of one plan is 0."""
    K = elites.shape[1]
    mean = pairwise_sum(elites) / K
    return mean, (pairwise_sum((elites - mean[:, None]).square()) / max(K - 1, 1)).sqrt()
