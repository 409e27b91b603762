"""Slow, obvious twins of the fast paths; the tests check that both agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch


def windows_slow(episodes: list[dict[str, Any]], length: int, stride: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every window of every episode, (pixels (T, ...), action (T-1, F*a)), by plain loops over rows and steps."""
    windows = []
    for episode in episodes:
        rows = len(episode["pixels"])
        for start in range(rows):
            if start + (length - 1) * stride > rows - 1:
                continue
            pixels = [episode["pixels"][start + k * stride] for k in range(length)]
            blocks = []
            for k in range(length - 1):
                block: list[float] = []
                for step in range(stride):
                    block.extend(episode["action"][start + k * stride + step])
                blocks.append(block)
            action = np.asarray(blocks, np.float32).reshape(length - 1, stride * episode["action"].shape[1])
            windows.append((np.stack(pixels), action))
    return windows


def epps_pulley_slow(h: torch.Tensor, knots: int = 17, end: float = 3.0) -> torch.Tensor:
    """Integrate |mean exp(ith) - exp(-t^2/2)|^2 exp(-t^2/2) over [-end, end] by the trapezoid rule, one knot at a time."""
    spacing = end / (knots - 1)
    total = torch.zeros(h.shape[:-2] + h.shape[-1:], dtype=torch.float64)
    for q in range(-(knots - 1), knots):
        t = q * spacing
        weight = spacing * (0.5 if abs(q) == knots - 1 else 1.0) * math.exp(-t * t / 2)
        real = torch.cos(t * h).mean(dim=-2) - math.exp(-t * t / 2)
        imaginary = torch.sin(t * h).mean(dim=-2)
        total += weight * (real**2 + imaginary**2)
    return h.shape[-2] * total
