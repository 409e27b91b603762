"""What was seen and sent at every tick, as a plan looks back on it.

Shapes: c pictures, F action block, a action size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def spaced(
    seen: Sequence[Array | None], sent: Sequence[Array | None], action_block: int, action_dim: int
) -> tuple[list[Array], Array]:
    """Pictures F ticks apart, as far back as there are, and the actions in between.

    Args:
        seen: of every tick, oldest first; None where there was none.
        sent: of every tick but the last.
        action_block: F.
        action_dim: a.

    Returns:
        c pictures, oldest first, and actions ((c - 1) * F, a).
    """
    pictures: list[Array] = []
    for picture in list(seen)[::-action_block]:
        if picture is None:
            break
        pictures.insert(0, picture)
    past = list(sent)[len(sent) - (len(pictures) - 1) * action_block :]
    return pictures, np.array(past, np.float32).reshape(-1, action_dim)
