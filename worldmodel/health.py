"""Whether a training goes well enough to be saved, or to go on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from worldmodel import distributed
from worldmodel.errors import WorldModelError

_log = logging.getLogger(__name__)


class Health:
    """Stops a training that went wrong, before its weights are saved over good ones.

    The loss, smoothed over about 20 steps, counts as exploded at 100 times its lowest value, and is not good enough to
    be saved from 10 times on. Losses below 0.01 count as that, and a lowest value is forgotten within some thousand
    steps. SIGReg is bounded, so it takes a prediction to get there.

    Args:
        weights: of the loss terms.
        folder: of the run.
    """

    def __init__(self, weights: Mapping[str, float], folder: Path) -> None:
        self.weights, self.folder = weights, folder
        self.smooth, self.lowest, self.last = math.nan, math.inf, 0.0

    @property
    def good(self) -> bool:
        """Whether the state is worth keeping."""
        return not max(self.smooth, self.last) > 10 * self.lowest

    def check(self, step: int, total: float, parts: Mapping[str, Tensor], norm: float) -> None:
        """Look at a step before it changes the weights."""
        (total,) = distributed.maximum(total)
        if not math.isfinite(norm) or not math.isfinite(total):
            broken = [name for name, part in parts.items() if not torch.isfinite(part)]
            what = f"loss term {', '.join(broken)} is not finite" if broken else "the gradient is not finite"
            raise WorldModelError(f"training diverged at step {step}: {what}; {self._advice()}")
        rose = self.smooth > 10 * self.lowest
        self.last, self.smooth = total, total if math.isnan(self.smooth) else 0.95 * self.smooth + 0.05 * total
        self.lowest = max(0.01, min(1.001 * self.lowest, self.smooth))
        if self.smooth > 100 * self.lowest:
            worst = max(parts, key=lambda name: self.weights[name] * float(parts[name].detach()))
            raise WorldModelError(
                f"training exploded at step {step}: the loss rose from {self.lowest:.3g} to {self.smooth:.3g}, most of "
                f"it loss term {worst}; {self._advice()}"
            )
        if not rose and self.smooth > 10 * self.lowest:
            _log.warning(
                f"the loss rose from {self.lowest:.3g} to {self.smooth:.3g}: no state is saved until it falls again"
            )

    def require(self, step: int) -> None:
        """Refuse to end where nothing would be saved."""
        if not self.good:
            raise WorldModelError(
                f"training stopped at step {step} with a loss of {max(self.smooth, self.last):.3g}, far above the "
                f"{self.lowest:.3g} before; {self._advice()}"
            )

    def _advice(self) -> str:
        if (self.folder / "state" / "state.pt").exists():
            return "the last good state is kept: go on from there with --resume and a lower --train.lr"
        return "no state was saved before: start again with a lower --train.lr"
