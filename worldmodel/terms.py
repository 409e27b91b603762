"""Loss terms: each a function of the record of one training step, summed with a weight of the same name.

Shapes: B windows, T frames in a window, D latent width, A = F * a action-block width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.config import LossConfig
from worldmodel.errors import BadValue
from worldmodel.interfaces import Prediction
from worldmodel.sigreg import SIGReg


@dataclass(frozen=True)
class Step:
    """Everything one training step produced. A term reads what it needs."""

    z: Tensor  # (B, T, D), gradient flows: targets are not detached (2603.19312)
    actions: Tensor  # (B, T-1, A), normalised
    one_step: Prediction | None = None
    prefix: Prediction | None = None
    actions_hat: Tensor | None = None  # (B, T-1, A) from the inverse-dynamics head
    thumbnail: Prediction | None = None  # small pictures decoded from latents, (M, pixels)


def prediction_error(prediction: Prediction) -> Tensor:
    """Squared error, averaged over predictions (by weight, if any) and latent dimensions: a scalar."""
    error = (prediction.hat.float() - prediction.target.float()).square().flatten(1).mean(dim=1)
    return error.mean() if prediction.weight is None else (error * prediction.weight).sum() / prediction.weight.sum()


def inverse_error(step: Step) -> Tensor:
    """Squared error of the action blocks read back from pairs of neighbouring latents: a scalar."""
    return F.mse_loss(_present(step, "actions_hat").float(), step.actions.float())


def reconstruction_error(step: Step) -> Tensor:
    """Squared error of thumbnails less the mean one, over its variance: 1 for the mean itself, a scalar."""
    hat, target, _ = _present(step, "thumbnail")
    difference = target - target.mean(dim=0)
    return F.mse_loss(hat.float(), difference) / difference.square().mean().clamp(min=1e-6)


def _present(step: Step, name: str) -> Any:
    value = getattr(step, name)
    if value is None:
        raise BadValue(f"a loss term needs {name!r}, which this model does not produce")
    return value


class Loss(nn.Module):
    """The weighted sum of the terms whose weight is not 0.

    Args:
        config: one weight a term, and SIGReg's directions and knots.
        available: the terms the model can produce a record for.

    Raises:
        BadValue: a term has a weight but the model lacks its part.
    """

    def __init__(self, config: LossConfig, available: set[str]) -> None:
        super().__init__()
        regulariser = SIGReg(config.projections, config.knots)
        terms: dict[str, Callable[[Step, torch.Generator | None], Tensor]] = {
            "one_step": lambda step, generator: prediction_error(_present(step, "one_step")),
            "prefix": lambda step, generator: prediction_error(_present(step, "prefix")),
            "sigreg": lambda step, generator: regulariser(step.z, generator),
            "inverse": lambda step, generator: inverse_error(step),
            "reconstruction": lambda step, generator: reconstruction_error(step),
        }
        self.regulariser = regulariser
        self.weights = {name: getattr(config, name) for name in terms if getattr(config, name) != 0}
        self.terms = {name: terms[name] for name in self.weights}
        lacking = sorted(set(self.weights) - available - {"sigreg"})
        if lacking:
            raise BadValue(f"loss terms {lacking} have a weight but the model has only {sorted(available)}")

    def forward(self, step: Step, generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and each unweighted part; SIGReg's directions come from ``generator``."""
        parts = {name: term(step, generator) for name, term in self.terms.items()}
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum(), parts
