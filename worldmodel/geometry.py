"""How a latent space is laid out, and whether its predictors agree with themselves. Pure functions of tensors.

Shapes: B windows, L latents of an episode, M numbers that are ranked, H model steps, D latent width, A action block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.interfaces import Context
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix


def straightness(z: Tensor) -> Tensor:
    """Mean cosine of consecutive differences of latents (L, D), a scalar: 1 on a straight line (2603.19312).

    Differences of zero, where the picture stands still, have no direction and are left out; NaN if none is left.
    """
    steps = z[1:] - z[:-1]
    sizes = steps.norm(dim=1)
    cosines = (steps[1:] * steps[:-1]).sum(dim=1) / (sizes[1:] * sizes[:-1])
    return cosines[cosines.isfinite()].mean()


def ranks(x: Tensor) -> Tensor:
    """Ranks from 1 along the last axis, (..., M) -> (..., M); ties share the mean of theirs."""
    less = (x[..., None, :] < x[..., :, None]).sum(dim=-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(dim=-1)
    return less + (equal + 1) / 2


def rank_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's rank correlation along the last axis, (..., M) each -> (...); NaN where one of the two is constant."""
    a, b = (r - r.mean(dim=-1, keepdim=True) for r in (ranks(x), ranks(y)))
    return (a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def distances_to_end(z: Tensor, span: int) -> Tensor:
    """Distance of the ``span`` latents before each latent to it: (L, D) -> (L - span, span), nearest in time first."""
    windows = z.unfold(0, span + 1, 1).transpose(1, 2)  # (L - span, span + 1, D)
    return (windows[:, :-1] - windows[:, -1:]).norm(dim=-1).flip(1)


def two_hops(predictor: OneStep | Prefix, context: Context, actions: Tensor, split: int) -> Tensor:
    """F(F(z, a), b): the latent after actions (B, H, A), predicted in two hops, the first of ``split`` steps: (B, D).

    The second hop starts from what the first has predicted, as if it had been seen. What `arrivals` predicts for step H
    is F(z, ab); in a world whose states are all there is to know the two are equal.
    """
    C = predictor.context
    between = predictor.rollout(context, actions[:, None, :split])[:, 0]
    z = torch.cat([context.z, between], dim=1)[:, -C:]
    done = torch.cat([context.actions, actions[:, :split]], dim=1)
    middle = Context(z, done[:, done.shape[1] - z.shape[1] + 1 :])
    return predictor.arrivals(middle, actions[:, None, split:], (actions.shape[1] - split,))[:, 0, 0]
