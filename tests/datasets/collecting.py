"""Small collections, interrupted or not, and comparing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.collect import collect
from worldmodel.datasets.store import EpisodeStore

STEPS = 30


def collect_here(path: Path, episodes: int = 3, **options: Any) -> Path:
    return collect("two-room", path, episodes, **{"steps": STEPS, "workers": 1, "image_size": 32} | options)


def same(a: Path, b: Path) -> None:
    with EpisodeStore(a) as one, EpisodeStore(b) as other:
        assert one.fingerprint == other.fingerprint
        for name in one.columns:
            np.testing.assert_array_equal(one.read(name, 0, one.rows), other.read(name, 0, other.rows))


def interrupt_after(episodes: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done >= episodes:
            raise KeyboardInterrupt

    return progress
