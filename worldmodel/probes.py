"""What can be read from a latent: probes, fitted on some episodes and judged on others. Pure functions of tensors.

Shapes: M samples, D latent width, Y numbers to read.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

RIDGE = 1e-3  # penalty of the linear probe, relative to the mean variance of the latents
HIDDEN, STEPS, PATIENCE = 128, 200, 50  # of the MLP probe: width, steps of Adam at most, steps without a gain


def linear_probe(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor) -> Tensor:
    """How well each number can be read linearly from a latent: held-out R^2, (Y,).

    Args:
        z: latents to fit on, (M, D).
        y: what to read, (M, Y).
        z_test: held-out latents, of other episodes.
        y_test: what to read from those.
    """
    z, y, z_test, y_test = (x.cpu().double() for x in (z, y, z_test, y_test))
    return _r2(_ridge(z, y)(z_test), y_test)


def mlp_probe(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor, seed: int = 0) -> Tensor:
    """How well each number can be read from a latent at all: held-out R^2, (Y,).

    A network with one hidden layer learns what the linear probe leaves over, by Adam on all samples at once. For each
    number by itself it is stopped where it reads the last quarter of the samples best, which may be before it begins:
    the two probes differ by what is not linear, and not by how they overfit. Put samples of one episode beside each
    other, so that the last quarter is of other episodes.

    Args:
        z: latents to fit on, (M, D).
        y: what to read, (M, Y).
        z_test: held-out latents, of other episodes.
        y_test: what to read from those.
        seed: of the network's first weights; the global random state stays as it is.
    """
    z, y, z_test, y_test = (x.cpu().double() for x in (z, y, z_test, y_test))
    linear = _ridge(z, y)
    rest = y - linear(z)
    centre, spread, scale = z.mean(dim=0), z.std(dim=0), rest.std(dim=0).clamp(min=1e-12)
    spread = spread.clamp(min=0.1 * float(spread.mean()) + 1e-12)  # not of what first changes in the test
    x, x_test, rest = (z - centre) / spread, (z_test - centre) / spread, rest / scale
    with torch.inference_mode(False), torch.enable_grad():
        correction = _fitted(x.float().clone(), rest.float().clone(), x_test.float().clone(), seed)
    return _r2(linear(z_test) + scale * correction.double(), y_test)


def _fitted(x: Tensor, y: Tensor, x_test: Tensor, seed: int) -> Tensor:
    """What the network says of ``x_test``, each column where it was best on the last quarter; 0 where never."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(x.shape[1], HIDDEN, generator=generator) * (2 / x.shape[1]) ** 0.5
    bias = torch.randn(HIDDEN, generator=generator) / 2
    last = torch.zeros(HIDDEN, y.shape[1])
    weights = [first.requires_grad_(), bias.requires_grad_(), last.requires_grad_()]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    learn = 3 * len(x) // 4
    unseen = torch.cat([x[learn:], x_test])
    best, since, found = y[learn:].square().mean(dim=0), 0, torch.zeros(len(x_test), y.shape[1])
    for step in range(1, STEPS + 1):
        loss = (_network(x[:learn], *weights) - y[:learn]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            with torch.no_grad():
                said, test = _network(unseen, *weights).split([len(x) - learn, len(x_test)])
            error = (said - y[learn:]).square().mean(dim=0)
            found, since = torch.where(error < best, test, found), 0 if bool((error < best).any()) else since + 5
            best = torch.minimum(best, error)
            if since >= PATIENCE:
                break
    return found


def _network(x: Tensor, first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    return torch.nn.functional.gelu(x @ first + bias) @ last


def _ridge(z: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    centre, mean = z.mean(dim=0), y.mean(dim=0)
    gram = (z - centre).T @ (z - centre)
    penalty = RIDGE * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    weight = torch.linalg.solve(gram + penalty, (z - centre).T @ (y - mean))
    return lambda x: mean + (x - centre) @ weight


def _r2(read: Tensor, y: Tensor) -> Tensor:
    return 1 - (read - y).square().sum(dim=0) / (y - y.mean(dim=0)).square().sum(dim=0).clamp(min=1e-12)
