"""Small made-up episodes, every row of which can be told from every other."""

from __future__ import annotations

from typing import Any

import numpy as np


def episode(number: int, rows: int, size: int = 8, split: int = 0) -> dict[str, Any]:
    """Pixels and actions spell (episode, row); the last action is NaN."""
    pixels = np.zeros((rows, size, size, 3), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = number, np.arange(rows)
    action = np.stack([np.full(rows, number), np.arange(rows)], axis=1).astype(np.float32)
    action[-1:] = np.nan
    reward = -np.arange(rows, dtype=np.float32)
    reward[:1] = np.nan
    return {
        "pixels": pixels,
        "action": action,
        "reward": reward,
        "terminated": np.zeros(rows, bool),
        "truncated": np.arange(rows) == rows - 1,
        "state": np.arange(rows * 3, dtype=np.float64).reshape(rows, 3) + 1000 * number,
        "split": split,
        "seed": 7 * number,
        "policy": b"weak",
    }
