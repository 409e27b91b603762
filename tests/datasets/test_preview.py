from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets import preview
from worldmodel.datasets.preview import GAP, LINE, contact_sheet, evenly, film, write_png
from worldmodel.datasets.store import EpisodeStore, write_store

SIZE, HEIGHT, WIDTH = 64, 2 * 64 + LINE + GAP, 2 * 64 + 2 * GAP


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """Episode i is grey 40 + 40 i, brighter by one at every row."""
    episodes = [episode(i, rows, SIZE) for i, rows in enumerate((30, 5))]
    for number, one in enumerate(episodes):
        one["pixels"][:] = 40 + 40 * number + np.arange(len(one["pixels"]))[:, None, None, None]
    return EpisodeStore(write_store(tmp_path / "a.h5", episodes, {}))


def test_evenly() -> None:
    assert evenly(100, 4).tolist() == [0, 33, 66, 99]
    assert evenly(3, 8).tolist() == [0, 1, 2] and evenly(5, 1).tolist() == [0]


def test_sheet_has_a_row_for_each_episode(store: EpisodeStore) -> None:
    sheet = contact_sheet(store, np.array([0, 1]), frames=7)
    assert sheet.shape == (2 * HEIGHT, 7 * WIDTH, 3) and sheet.dtype == np.uint8
    middle = sheet[LINE + 64 :: HEIGHT, GAP + 64 :: WIDTH, 0]
    assert middle[0].tolist() == [40, 45, 50, 54, 59, 64, 69]  # the grid rounds 14.5 to even
    assert middle[1].tolist() == [80, 81, 82, 83, 84, 24, 24]  # the short one has five rows, then nothing


def test_film_ends_with_the_longest_and_the_others_stand_still(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    frames = film(store, np.array([0, 1]), progress=lambda *call: calls.append(call))
    assert frames.shape[0] == 30 and frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    side = 3 * SIZE + 2 * GAP
    assert frames[:, LINE + 90, GAP + 90, 0].tolist() == list(range(40, 70))
    assert frames[:, LINE + 90, side + GAP + 90, 0].tolist() == [80, 81, 82, 83] + 26 * [84]
    assert calls == [(30, 60), (60, 60)]
    monkeypatch.setattr(preview, "MOST_FRAMES", 10)
    assert len(film(store, np.array([0]))) == 10


def test_png_is_read_back(store: EpisodeStore, tmp_path: Path) -> None:
    sheet = contact_sheet(store, np.array([1]))
    path = write_png(tmp_path / "b" / "a.png", sheet)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], sheet)
