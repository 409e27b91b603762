"""What can be read from a latent: probes, fitted on some episodes and judged on others. Pure functions of tensors.

Shapes: M samples, D latent width, Y numbers to read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import gelu

from worldmodel.blocks import padded_rows

RIDGE = 1e-3  # penalty of the linear probe, relative to the mean variance of the latents
HIDDEN, STEPS, PATIENCE = 128, 200, 50  # of the MLP probe: width, steps of Adam at most, steps without a gain


@dataclass(frozen=True, eq=False)
class Probe:
    """Reads numbers from latents: z (..., D) -> (..., Y), in float32, differentiable.

    A number is ``mean + (z - centre) weight``, and of an MLP probe also what a hidden layer of its own adds.

    Attributes:
        centre: mean latent of the samples, (D,).
        mean: mean of each number there, (Y,).
        std: its standard deviation there, (Y,): what a distance between states can be measured in.
        weight: (D, Y).
        hidden: weights (D, Y * HIDDEN) and biases (Y * HIDDEN,) of the hidden layers, and last weights (Y, HIDDEN).
    """

    centre: Tensor
    mean: Tensor
    std: Tensor
    weight: Tensor
    hidden: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """Read from latents on the device of those that it was fitted on."""
        with torch.autocast(z.device.type, enabled=False):
            rows, real = padded_rows(z.float().flatten(0, -2) - self.centre)
            read = self.mean + rows @ self.weight
            if self.hidden is not None:
                first, bias, last = self.hidden
                read = read + (gelu(rows @ first + bias).unflatten(-1, last.shape) * last).sum(dim=-1)
        return read[:real].unflatten(0, z.shape[:-1])


def fit_linear(z: Tensor, y: Tensor) -> Probe:
    """Learn to read numbers linearly, by ridge regression: z (M, D), y (M, Y)."""
    return _placed(_ridge(*(x.detach().cpu().double() for x in (z, y))), z.device)


def fit_mlp(z: Tensor, y: Tensor, seed: int = 0) -> Probe:
    """Learn to read numbers by networks with one hidden layer: z (M, D), y (M, Y).

    They learn what the linear probe leaves over, by Adam on all samples at once. For each number by itself the network
    is the one that reads the last quarter of the samples best, which may be none: the two probes differ by what is not
    linear, and not by how they overfit. Put samples of one episode beside each other, so that the last quarter is of
    other episodes.

    Args:
        z: latents to fit on.
        y: what to read.
        seed: of the network's first weights; the global random state stays as it is.
    """
    device, (z, y) = z.device, (x.detach().cpu().double() for x in (z, y))
    linear = _ridge(z, y)
    centred = z - linear.centre
    rest = y - (linear.mean + centred @ linear.weight)
    spread, scale = z.std(dim=0), rest.std(dim=0).clamp(min=1e-12)
    spread = spread.clamp(min=0.1 * float(spread.mean()) + 1e-12)  # not of what first changes in the test
    with torch.inference_mode(False), torch.enable_grad():
        first, bias, last = _fitted((centred / spread).float().clone(), (rest / scale).float().clone(), seed)
    return _placed(replace(linear, hidden=(first / spread[:, None], bias, last * scale[:, None])), device)


def linear_probe(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor) -> Tensor:
    """How well each number can be read linearly from a latent: held-out R^2, (Y,).

    Args:
        z: latents to fit on, (M, D).
        y: what to read, (M, Y).
        z_test: held-out latents, of other episodes.
        y_test: what to read from those.
    """
    return explained(fit_linear(z, y)(z_test), y_test)


def mlp_probe(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor, seed: int = 0) -> Tensor:
    """How well each number can be read from a latent at all (``fit_mlp``): held-out R^2, (Y,).

    Args:
        z: latents to fit on, (M, D).
        y: what to read, (M, Y).
        z_test: held-out latents, of other episodes.
        y_test: what to read from those.
        seed: of the network's first weights.
    """
    return explained(fit_mlp(z, y, seed)(z_test), y_test)


def _fitted(x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden layers of a network for each column, as it was when best on the last quarter; last weights 0 where never.

    Returns:
        Weights (D, Y * HIDDEN), biases (Y * HIDDEN,) and last weights (Y, HIDDEN).
    """
    generator, (D, Y) = torch.Generator().manual_seed(seed), (x.shape[1], y.shape[1])
    first = torch.randn(D, HIDDEN, generator=generator) * (2 / D) ** 0.5
    bias = torch.randn(HIDDEN, generator=generator) / 2
    last = torch.zeros(HIDDEN, Y)
    weights = [first.requires_grad_(), bias.requires_grad_(), last.requires_grad_()]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    learn = 3 * len(x) // 4
    best, since = y[learn:].square().mean(dim=0), 0
    found = torch.zeros(Y, D, HIDDEN), torch.zeros(Y, HIDDEN), torch.zeros(Y, HIDDEN)
    for step in range(1, STEPS + 1):
        loss = (_network(x[:learn], *weights) - y[:learn]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            with torch.no_grad():
                error = (_network(x[learn:], *weights) - y[learn:]).square().mean(dim=0)
                better = error < best
                for kept, now in zip(found, (first, bias, last.T[better])):
                    kept[better] = now
            since = 0 if bool(better.any()) else since + 5
            best = torch.minimum(best, error)
            if since >= PATIENCE:
                break
    return found[0].transpose(0, 1).flatten(1), found[1].flatten(), found[2]


def _network(x: Tensor, first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    return gelu(x @ first + bias) @ last


def _ridge(z: Tensor, y: Tensor) -> Probe:
    centre, mean = z.mean(dim=0), y.mean(dim=0)
    gram = (z - centre).T @ (z - centre)
    penalty = RIDGE * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(z.shape[1], dtype=z.dtype)
    weight = torch.linalg.solve(gram + penalty, (z - centre).T @ (y - mean))
    return Probe(centre, mean, y.std(dim=0).clamp(min=1e-12), weight)


def _placed(probe: Probe, device: torch.device) -> Probe:
    centre, mean, std, weight, *hidden = (
        x.to(device, torch.float32) for x in (probe.centre, probe.mean, probe.std, probe.weight, *(probe.hidden or ()))
    )
    return Probe(centre, mean, std, weight, (hidden[0], hidden[1], hidden[2]) if hidden else None)


def explained(read: Tensor, y: Tensor) -> Tensor:
    """R^2 (Y,) of what was read (M, Y) against what was there: 1 is perfect, 0 no better than the mean."""
    read, y = read.cpu().double(), y.cpu().double()
    return 1 - (read - y).square().sum(dim=0) / (y - y.mean(dim=0)).square().sum(dim=0).clamp(min=1e-12)
