from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets import statistics as s
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.errors import BadFile


def test_spread_by_hand() -> None:
    found = s.spread(np.array([[0.0, 5.0], [1.0, 5.0], [1.0, 6.0], [np.nan, 7.0]]))
    np.testing.assert_allclose(found.mean, [2 / 3, 16 / 3])
    np.testing.assert_allclose(found.std, [np.sqrt(2 / 9), np.sqrt(2 / 9)])
    assert (found.low.tolist(), found.high.tolist()) == ([0, 5], [1, 6])
    assert found.at_ends.tolist() == [1, 1]
    assert np.isnan(s.spread(np.full((3, 2), np.nan)).mean).all()
    clipped = np.clip(np.random.default_rng(0).normal(size=(10_000, 1)), -1, 1)
    assert s.spread(clipped).at_ends[0] == pytest.approx(0.317, abs=0.02)


def test_occupancy_of_known_distributions() -> None:
    grid = np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2)
    assert s.occupancy(grid) == (1.0, pytest.approx(1.0))
    assert s.occupancy(np.arange(1000)) == (1.0, pytest.approx(1.0))
    visited, evenness = s.occupancy(np.stack([np.arange(400)] * 2, axis=1))  # a diagonal
    assert (visited, evenness) == (20 / 400, pytest.approx(20 / 400))
    assert s.occupancy(np.array([0.0] * 99 + [1.0]))[0] == 2 / 50  # two of fifty bins
    assert s.occupancy(np.array([0.0] * 99 + [1.0]))[1] < 1.1 / 50  # hardly more than one of them
    assert np.isnan(s.occupancy(np.ones(5))).all() and np.isnan(s.occupancy(np.full(5, np.nan))).all()


def test_planes() -> None:
    assert s.planes(["agent_x", "agent_y", "block_x", "block_y", "angle", "vx", "vy"]) == [(0, 1), (2, 3), (5, 6)]
    assert s.planes(["x", "y", "z"]) == [(0, 1)] and s.planes(["a_x", "b_y"]) == [] and s.planes([]) == []


def test_still_and_hard_windows(tmp_path: Path) -> None:
    """One episode moves all the time, one stands still, one is too short for a window."""
    moving, still, short = episode(0, 60, 16), episode(1, 60, 16), episode(2, 25, 16)
    moving["pixels"][:] = np.arange(60)[:, None, None, None] * 4
    still["pixels"][:] = 7
    still["state"][:] = 3.0
    with EpisodeStore(write_store(tmp_path / "a.h5", [moving, still, short], {})) as store:
        assert s.still_pictures(store) == (0.5, 70)
        assert s.still_states(store) == (0.5, 70)
        assert s.hard_windows(store, lambda start, end: end[0] > start[0]) == (0.5, 70)
        share, count = s.out_of_view(store, lambda state: state[1] != 3.0)
        assert count == 145 and share == pytest.approx(60 / 145)
    with EpisodeStore(write_store(tmp_path / "b.h5", [short], {})) as store:
        for share, count in (s.still_pictures(store), s.still_states(store), s.hard_windows(store, lambda a, b: True)):
            assert np.isnan(share) and count == 0


def test_large_datasets_are_sampled_by_whole_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "MOST_ROWS", 60)
    with EpisodeStore(write_store(tmp_path / "a.h5", (episode(i, 20) for i in range(9)), {})) as store:
        rows = s.sample(store)
        assert rows.tolist() == [*range(0, 20), *range(60, 80), *range(120, 140)]
        assert s.numbers(store, "state", rows)[:, 0].max() >= 6000
        with pytest.raises(BadFile, match="column 'policy' must hold numbers"):
            s.numbers(store, "policy", rows)
