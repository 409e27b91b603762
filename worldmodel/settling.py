"""An encoder that stands still, and its latents: each frame passes it once, however often it is drawn.

Shapes: B windows, T frames, S pixels, D latent width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.model import WorldModel

_FRAMES = 1024  # encoded at once


@contextmanager
def standing_still(*parts: nn.Module) -> Iterator[None]:
    """Modules that do not learn, however the block ends."""
    try:
        for part in parts:
            part.requires_grad_(False)
        yield
    finally:
        for part in parts:
            part.requires_grad_(True)


class Latents:
    """The latents of a dataset's rows, each encoded when it is first asked for, as an agent will: in float32.

    Args:
        model: whose encoder no longer learns.
        rows: N, of the dataset.
        gather: frames of rows, (M,) -> uint8 (M, S, S, 3).
    """

    def __init__(self, model: WorldModel, rows: int, gather: Callable[[np.ndarray], Tensor]) -> None:
        self.model, self._gather = model, gather
        self._known = np.zeros(rows, bool)
        self._z = model.action_mean.new_empty(rows, model.config.latent_dim)

    def gather(self, rows: np.ndarray) -> Tensor:
        """Latents of rows in any order, repeated or not: (B, T) -> (B, T, D)."""
        new = np.unique(rows)
        new = new[~self._known[new]]
        training = self.model.training
        self.model.eval()
        with torch.no_grad(), torch.autocast(self._z.device.type, enabled=False):
            for start in range(0, len(new), _FRAMES):
                some = new[start : start + _FRAMES]
                z = self.model.encode({"pixels": self._gather(some)[:, None]})[:, 0]
                self._z[torch.from_numpy(some)] = z.to(self._z.dtype)
        self.model.train(training)
        self._known[new] = True
        return self._z[torch.from_numpy(rows)]
