"""The comparison itself; the other environment is played by this one, with a loader like stable-worldmodel's."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.benchmarks import swm_peer, swm_roundtrip
from worldmodel.benchmarks.swm_peer import FRAMES, STRIDE
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.errors import BadFile, BadValue


def test_windows_are_matched_by_their_first_row(tmp_path: Path) -> None:
    """Sliced as stable-worldmodel does: whole spans of 20 rows, pictures strided, actions joined in fives."""
    lengths = (24, 19, 30, 22)
    path = write_store(tmp_path / "a.h5", (episode(i, rows, split=i % 3) for i, rows in enumerate(lengths)), {})
    theirs, span = {}, FRAMES * STRIDE
    with h5py.File(path) as file:
        for offset, length in zip(file["ep_offset"][:].tolist(), file["ep_len"][:].tolist()):
            for row in range(offset, offset + length - span + 1):
                action = file["action"][row : row + span].reshape(FRAMES, -1)
                theirs[str(row)] = list(swm_peer.digests(file["pixels"][row : row + span][::STRIDE], action))
    with EpisodeStore(path) as store:
        ours = swm_roundtrip.our_windows(store)
    count = sum(max(length - span + 1, 0) for length in lengths)
    expected = {"windows": sum(length - 15 for length in lengths), "windows_swm": count}
    assert swm_roundtrip.compared(ours, theirs) == expected | {"same_pixels": count, "same_actions": count}
    theirs["0"][0], theirs["1"][1] = "other", "other"
    assert swm_roundtrip.compared(ours, theirs) == expected | {"same_pixels": count - 1, "same_actions": count - 1}


def test_actions_after_the_last_picture_do_not_count() -> None:
    pixels, action = np.zeros((4, 8, 8, 3), np.uint8), np.ones((4, 10), np.float32)
    last = action.copy()
    last[3] = np.nan
    assert swm_peer.digests(pixels, action) == swm_peer.digests(pixels, last) == swm_peer.digests(pixels, action[:3])


def test_a_peer_that_does_not_work_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="--peer: cannot run pythn"):
        swm_roundtrip.call("pythn", tmp_path, "versions")
    with pytest.raises(BadFile, match="--peer: windows failed there: .*Error"):
        swm_roundtrip.call(sys.executable, tmp_path, "windows", "a.h5")
