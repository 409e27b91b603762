"""Loss terms: each a function of the record of one training step, summed with a weight of the same name.

Shapes: B windows, T frames in a window, D latent width, A = F * a action-block width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.blocks import at_least_float32
from worldmodel.config import LossConfig
from worldmodel.errors import BadValue
from worldmodel.interfaces import Prediction
from worldmodel.sigreg import SIGReg


@dataclass(frozen=True)
class Step:
    """Everything one training step produced. A term reads what it needs."""

    z: tuple[Tensor, ...]  # (B, T, D) of each group of windows; gradient flows into targets (2603.19312)
    one_step: Prediction | None = None
    prefix: Prediction | None = None
    imagined: Prediction | None = None  # of the prefix predictor; its targets are rollouts of the one-step predictor
    inverse: Prediction | None = None  # (M, A), normalised actions read back from neighbouring latents
    reward: Prediction | None = None  # (M, 1) between neighbouring frames, relative to its root mean square
    value: Prediction | None = None  # (M, 1) discounted mean of those to come, the better ones weighted more
    reflex: Prediction | None = None  # (M, A), normalised actions towards a goal that was reached later


def prediction_error(prediction: Prediction) -> Tensor:
    """Squared error, averaged over predictions (by weight, if any) and the rest: a scalar."""
    gap = at_least_float32(prediction.hat) - at_least_float32(prediction.target)
    error = gap.square().flatten(1).mean(dim=1)
    return error.mean() if prediction.weight is None else (error * prediction.weight).sum() / prediction.weight.sum()


def expectile_error(prediction: Prediction) -> Tensor:
    """Squared error times its weight, averaged over predictions; the weights say which errors count more (2110.06169).

    They are not made to sum to one: what a prediction counts does not depend on which others are in its batch.
    """
    assert prediction.weight is not None
    gap = at_least_float32(prediction.hat) - at_least_float32(prediction.target)
    return (gap.square().flatten(1).mean(dim=1) * prediction.weight).mean()


def joined(predictions: Sequence[Prediction]) -> Prediction:
    """Predictions of several groups of windows as one.

    Raises:
        BadValue: there is none, because no window is long enough for the part.
    """
    if not predictions:
        raise BadValue("windows: none is long enough to train every part of the model")
    hat, target, weight = zip(*predictions)
    return Prediction(torch.cat(hat), torch.cat(target), None if weight[0] is None else torch.cat(weight))


def side_by_side(groups: Sequence[Tensor]) -> Tensor:
    """Join windows of different lengths into one batch, (B, T, D) each; the shorter ones repeat their frames.

    Every time step then holds one frame of every window: as many independent samples as there are windows.
    """
    longest = max(z.shape[1] for z in groups)
    return torch.cat([z.repeat(1, -(-longest // z.shape[1]), 1)[:, :longest] for z in groups])


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
            "sigreg": lambda step, generator: regulariser(side_by_side(step.z), generator),
            "imagined": lambda step, generator: prediction_error(_present(step, "imagined")),
            "inverse": lambda step, generator: prediction_error(_present(step, "inverse")),
            "reward": lambda step, generator: prediction_error(_present(step, "reward")),
            "reflex": lambda step, generator: prediction_error(_present(step, "reflex")),
            "value": lambda step, generator: expectile_error(_present(step, "value")),
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

    def without(self, name: str) -> Loss:
        """The same but for one term."""
        other = copy(self)
        other.terms = {known: term for known, term in self.terms.items() if known != name}
        return other


def _present(step: Step, name: str) -> Prediction:
    value: Prediction | None = getattr(step, name)
    if value is None:
        raise BadValue(f"a loss term needs {name!r}, which this model does not produce")
    return value
