"""Shifts: windows move with their goals, and what comes into view repeats the edge."""

from __future__ import annotations

import numpy as np
import torch

from tests import oracles
from worldmodel.datasets.shifts import shifted


def test_windows_move_with_their_goals_as_each_pixel_would_alone() -> None:
    rng, made = np.random.default_rng(0), torch.Generator().manual_seed(0)
    group = {
        "pixels": torch.randint(256, (30, 3, 7, 7, 3), dtype=torch.uint8, generator=made),
        "goal": torch.randint(256, (30, 7, 7, 3), dtype=torch.uint8, generator=made),
        "action": torch.randn(30, 2, 10, generator=made),
    }
    by = rng.integers(-2, 3, (2, 30))
    found = shifted(group, by)
    assert found["action"] is group["action"]
    for i, (down, right) in enumerate(by.T):
        assert torch.equal(found["goal"][i], oracles.moved_slow(group["goal"][i], down, right))
        for frame, seen in zip(group["pixels"][i], found["pixels"][i]):
            assert torch.equal(seen, oracles.moved_slow(frame, down, right))


def test_a_window_that_is_not_moved_stays_as_it_is() -> None:
    pixels = torch.arange(2 * 3 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 4, 4, 3)
    found = shifted({"pixels": pixels}, np.array([[0, 1], [0, 0]]))["pixels"]
    assert torch.equal(found[0], pixels[0]) and torch.equal(found[1, :, 1:], pixels[1, :, :-1])
    assert torch.equal(shifted({"pixels": pixels}, np.zeros((2, 2), int))["pixels"], pixels)
