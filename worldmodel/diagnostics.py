"""Is the latent space any good? Pure functions of tensors, for validation and for benchmarks.

Shapes: M samples, B windows, H steps ahead, D latent width, Y numbers to read out.
"""

from __future__ import annotations

import torch
from torch import Tensor


def open_loop_error(z_hat: Tensor, z: Tensor) -> Tensor:
    """Squared error of predicted latents over the error of not moving at all, for each step ahead.

    ``|z_hat_h - z_h|^2 / |z_0 - z_h|^2``, each averaged over windows first; 1 is as good as copying the last latent.

    Args:
        z_hat: predictions, (B, H, D).
        z: encoded frames from now on, (B, H + 1, D).

    Returns:
        (H,).
    """
    error = (z_hat - z[:, 1:]).square().mean(dim=(0, 2))
    copy = (z[:, :1] - z[:, 1:]).square().mean(dim=(0, 2))
    return error / copy.clamp(min=1e-12)


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
    std, rank = mean_std(z), effective_rank(z)
    if std < 0.1 or rank < 3:
        return (
            f"the latents collapsed (mean std {std:.3f}, about 1 expected; effective rank {rank:.1f} of {z.shape[1]}): "
            "raise --loss.sigreg or --train.batch"
        )
    return None


def linear_probe(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor, ridge: float = 1e-3) -> Tensor:
    """How well each number can be read linearly from a latent: held-out R^2, (Y,).

    Args:
        z: latents to fit on, (M, D).
        y: what to read, (M, Y).
        z_test: held-out latents, of other episodes.
        y_test: what to read from those.
        ridge: penalty, relative to the mean variance of the latents.
    """
    z, y, z_test, y_test = (x.cpu().double() for x in (z, y, z_test, y_test))
    centre, mean = z.mean(dim=0), y.mean(dim=0)
    gram = (z - centre).T @ (z - centre)
    penalty = ridge * gram.diagonal().mean() * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    weight = torch.linalg.solve(gram + penalty, (z - centre).T @ (y - mean))
    rest = (y_test - mean - (z_test - centre) @ weight).square().sum(dim=0)
    return 1 - rest / (y_test - y_test.mean(dim=0)).square().sum(dim=0).clamp(min=1e-12)
