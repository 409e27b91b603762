"""Pictures moved by a few pixels, as if the camera stood elsewhere: few episodes are then not learned by heart.

A window and its goal move together, so what was where beside what stays true. Shapes: B windows, S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def shifted(group: Mapping[str, Tensor], by: np.ndarray) -> dict[str, Tensor]:
    """Move windows; what comes into view repeats the edge (2004.13649).

    Args:
        group: ``pixels`` uint8 (B, T, S, S, 3), perhaps ``goal`` uint8 (B, S, S, 3); all else stays as it is.
        by: (2, B) pixels down and to the right.
    """
    found = dict(group)
    for shown in found.keys() & {"pixels", "goal"}:
        found[shown] = _moved(found[shown], by)
    return found


def _moved(x: Tensor, by: np.ndarray) -> Tensor:
    """Pictures (B, ..., S, S, 3), those of one row of B all alike."""
    B, S, furthest = len(x), x.shape[-2], int(np.abs(by).max(initial=0))
    lines = x.flatten(-2).reshape(B, -1, S, 3 * S)
    left, right = lines[..., :3].repeat(1, 1, 1, furthest), lines[..., -3:].repeat(1, 1, 1, furthest)
    places = torch.cat([left, lines, right], dim=-1).unfold(-1, 3 * S, 3)  # a line in each place it can be moved to
    down, along = torch.from_numpy(by).to(x.device)
    rows = (torch.arange(S, device=x.device) - down[:, None]).clamp(0, S - 1)[:, None]
    window, frame = torch.arange(B, device=x.device)[:, None, None], torch.arange(lines.shape[1], device=x.device)
    return places[window, frame[:, None], rows, (furthest - along)[:, None, None]].view_as(x)
