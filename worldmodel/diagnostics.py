"""Is the latent space any good, and do its predictors predict? Pure functions of tensors.

What can be read from it is in ``worldmodel/probes.py``. Shapes: M samples, B windows, H steps ahead, D latent width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix

CHUNK = 512  # frames encoded at once


def encoded(model: WorldModel, frames: np.ndarray) -> Tensor:
    """Latents (M, D) of frames (M, S, S, 3) uint8, encoded in pieces that fit any machine."""
    parts = (torch.from_numpy(frames[i : i + CHUNK]) for i in range(0, len(frames), CHUNK))
    return torch.cat([model.encode({"pixels": part.to(model.device)[:, None]})[:, 0] for part in parts])


def untrained(model: WorldModel) -> WorldModel:
    """A model of the same shape that was never trained, as a control; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return WorldModel(model.config).to(model.device).eval()


def open_loop_error(z_hat: Tensor, z: Tensor) -> Tensor:
    """Squared error of predicted latents over the error of not moving at all, for each step ahead.

    ``|z_hat_h - z_h|^2 / |z_0 - z_h|^2``, each averaged over windows first; 1 is as good as copying the last latent.

    Args:
        z_hat: predictions, (B, H, D).
        z: encoded frames from now on, (B, H + 1, D).

    Returns:
        (H,).
    """
    copy = squared_errors(z[:, :1].expand_as(z[:, 1:]), z).mean(dim=0)
    return squared_errors(z_hat, z).mean(dim=0) / copy.clamp(min=1e-12)


def action_sensitivity(z_hat: Tensor, z_shuffled: Tensor, z: Tensor) -> Tensor:
    """How much worse predictions are under other windows' actions than under their own, for each step ahead.

    Above 1 the actions matter; at 1 they are ignored.

    Args:
        z_hat: predictions under the true actions, (B, H, D).
        z_shuffled: predictions under actions shuffled over windows, (B, H, D).
        z: encoded frames from now on, (B, H + 1, D).

    Returns:
        (H,), ratio of squared errors, each averaged over windows first.
    """
    right, wrong = (squared_errors(path, z).mean(dim=0) for path in (z_hat, z_shuffled))
    return wrong / right.clamp(min=1e-12)


def squared_errors(z_hat: Tensor, z: Tensor) -> Tensor:
    """Squared error of predictions (B, H, D) of what was seen from now on, z (B, H + 1, D): mean over D, (B, H)."""
    return (z_hat - z[:, 1:]).square().mean(dim=2)


def surprise(predictor: OneStep | Prefix, z: Tensor, actions: Tensor) -> Tensor:
    """Squared error of every next latent, predicted from the C latents that were really seen before it.

    ``|z_hat_t - z_t|^2 / D`` with z_hat_t from z_(t-C) .. z_(t-1) and the actions after them: violation of expectation
    as in 2603.19312.

    Args:
        predictor: with a context of C.
        z: encoded frames one model step apart, (B, T, D) with T > C.
        actions: normalised action blocks between them, (B, T - 1, A).

    Returns:
        (B, T - C), of the frames C, C + 1, ...
    """
    C = predictor.context
    past, blocks = (x.unfold(1, C, 1).transpose(2, 3).flatten(0, 1) for x in (z[:, :-1], actions))
    z_hat = predictor.arrivals(Context(past, blocks[:, :-1]), blocks[:, None, -1:], (1,))[:, 0, 0]
    return (z_hat - z[:, C:].flatten(0, 1)).square().mean(dim=1).unflatten(0, (len(z), -1))


def nearest(z_hat: Tensor, z: Tensor) -> Tensor:
    """Which of the latents z (M, D) lies nearest to each prediction: (..., D) -> (...) int64."""
    apart = torch.cdist(z_hat.flatten(0, -2), z, compute_mode="donot_use_mm_for_euclid_dist")  # which rounds too much
    return apart.argmin(dim=1).unflatten(0, z_hat.shape[:-1])


def effective_rank(z: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values: (M, D) -> 1 .. D.

    Read it beside :func:`mean_std`: the noise of a collapsed latent has full rank.
    """
    values = torch.linalg.svdvals((z - z.mean(dim=0)).cpu().double())
    p = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(p).sum().exp())


def mean_std(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation over samples: (M, D) -> about 1 under SIGReg."""
    return float(z.std(dim=0).mean())


def collapse_warning(z: Tensor) -> str | None:
    """Say what is wrong when latents (M, D) have collapsed to a point or to very few directions, else None."""
    return collapsed(mean_std(z), effective_rank(z))


def collapsed(std: float, rank: float) -> str | None:
    """The same from their mean standard deviation and effective rank, where these were measured before."""
    if std < 0.1 or rank < 3:
        return (
            f"the latents collapsed (mean std {std:.3f}, about 1 expected; effective rank {rank:.1f}): "
            "raise --loss.sigreg or --train.batch"
        )
    return None


def action_warning(name: str, error: Tensor, sensitivity: Tensor) -> str | None:
    """Say what is wrong when a predictor has learned to predict but not from the actions, else None.

    Args:
        name: of the predictor.
        error: :func:`open_loop_error`, (H,); nothing is said while it is nowhere below 1, as at the start.
        sensitivity: :func:`action_sensitivity`, (H,).
    """
    most = float(sensitivity.max())
    if float(error.min()) < 1 and most < 1.05:
        return (
            f"the {name} predictor ignores the actions (shuffled ones make its error at most {most:.2f} times as "
            "large): train longer or on more episodes, or raise --loss.inverse (needs --model.inverse; --recipe wm "
            "has both)"
        )
    return None
