"""Decoded frames in an accelerator's memory, so that a batch costs one gather there and no transfer."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.store import EpisodeStore

SHARE = 0.3  # of the accelerator's free memory that frames may take; the model and its activations come later
_ROWS = 4096  # moved at once


def fits_on(device: torch.device, store: EpisodeStore) -> bool:
    """Whether the decoded pictures would take at most 30 % of an accelerator's free memory; never on a processor."""
    if device.type == "cpu":
        return False
    free = getattr(torch.get_device_module(device), "mem_get_info", None)
    shape, dtype = store.columns["pixels"]
    return free is not None and math.prod(shape) * dtype.itemsize <= SHARE * free(device)[0]


class FramesOnDevice:
    """All rows of a picture column, uint8 (N, S, S, 3).

    Args:
        cache: the decoded column.
        device: where to keep it.
    """

    def __init__(self, cache: FrameCache, device: torch.device) -> None:
        self._frames = torch.empty(cache.frames.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(cache.frames), _ROWS):
            rows = np.array(cache.frames[start : start + _ROWS])  # the cache is read-only, which tensors are not
            self._frames[start : start + _ROWS] = torch.from_numpy(rows).to(device)

    def gather(self, rows: np.ndarray) -> Tensor:
        """Frames of the rows (B, T), in any order: (B, T, S, S, 3)."""
        index = torch.from_numpy(rows.ravel()).to(self._frames.device)
        return self._frames.index_select(0, index).unflatten(0, rows.shape)
