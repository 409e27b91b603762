from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.append import append
from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.store import EpisodeStore, write_store


def frames(path: Path) -> np.ndarray:
    with EpisodeStore(path) as store:
        return FrameCache(store).frames


def test_decoded_once_and_kept_beside_the_dataset(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25), episode(1, 30)], {})
    np.testing.assert_array_equal(frames(path), np.concatenate([episode(0, 25)["pixels"], episode(1, 30)["pixels"]]))
    (cached,) = (tmp_path / "a.h5.cache").iterdir()
    written = cached.stat().st_mtime_ns
    assert not frames(path).flags.writeable
    assert cached.stat().st_mtime_ns == written


def test_made_anew_when_the_dataset_changes(tmp_path: Path) -> None:
    before = frames(write_store(tmp_path / "a.h5", [episode(0, 25)], {}))
    after = frames(write_store(tmp_path / "a.h5", [episode(1, 25)], {}))
    np.testing.assert_array_equal(after, episode(1, 25)["pixels"])
    np.testing.assert_array_equal(before, episode(0, 25)["pixels"])  # whoever holds the old one is not disturbed
    assert len(list((tmp_path / "a.h5.cache").iterdir())) == 1


def test_of_a_dataset_that_has_grown_only_what_is_new_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25)], {})
    before, read, decoded = frames(path), EpisodeStore.read, []
    for number in (1, 2):  # twice, with no cache in between
        append(path, write_store(tmp_path / "more.h5", [episode(number, 25)], {}))

    def recorded(store: EpisodeStore, column: str, start: int, stop: int) -> np.ndarray:
        if column == "pixels" and stop - start > 1:  # fingerprints read single rows
            decoded.append((start, stop))
        return read(store, column, start, stop)

    monkeypatch.setattr(EpisodeStore, "read", recorded)
    after = frames(path)
    assert decoded == [(25, 75)]
    np.testing.assert_array_equal(after, np.concatenate([episode(i, 25)["pixels"] for i in range(3)]))
    np.testing.assert_array_equal(before, episode(0, 25)["pixels"])
    (cached,) = (tmp_path / "a.h5.cache").iterdir()
    assert cached.stat().st_size == 128 + after.nbytes
    cached.write_bytes(cached.read_bytes().replace(b"(75,", b"(25,"))  # as if killed between name and header
    np.testing.assert_array_equal(frames(path), after)
    assert decoded == [(25, 75), (0, 75)]


def test_who_decodes_an_older_dataset_late_leaves_the_newer_ones_frames(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25)], {})
    with EpisodeStore(path) as old:
        append(path, write_store(tmp_path / "more.h5", [episode(1, 25)], {}))
        frames(path)
        (cached,) = (tmp_path / "a.h5.cache").iterdir()
        np.testing.assert_array_equal(FrameCache(old).frames, episode(0, 25)["pixels"])
    assert cached.exists()


def test_who_finds_that_another_has_grown_the_frames_does_not_decode_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25)], {})
    frames(path)
    append(path, write_store(tmp_path / "more.h5", [episode(1, 25)], {}))
    replace, written = os.replace, []

    def faster(old: Path, new: Path) -> None:
        """Another process does all of it just before this one would."""
        monkeypatch.setattr(os, "replace", replace)
        frames(path)
        (cached,) = (tmp_path / "a.h5.cache").iterdir()
        written.append((cached, cached.stat().st_ino))
        replace(old, new)

    monkeypatch.setattr(os, "replace", faster)
    assert len(frames(path)) == 50
    ((cached, inode),) = written
    assert cached.stat().st_ino == inode


def test_a_truncated_cache_is_made_anew(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25)], {})
    frames(path)
    (cached,) = (tmp_path / "a.h5.cache").iterdir()
    cached.write_bytes(cached.read_bytes()[:-1])
    np.testing.assert_array_equal(frames(path), episode(0, 25)["pixels"])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 25)], {})
    (tmp_path / "a.h5.cache").symlink_to(tmp_path / "nowhere")
    np.testing.assert_array_equal(frames(path), episode(0, 25)["pixels"])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.h5", "a.h5.cache"]


def test_progress_counts_rows(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 500, size=224)], {})
    calls: list[tuple[int, int]] = []
    for _ in range(2):  # the second time it is there
        with EpisodeStore(path) as store:
            FrameCache(store, progress=lambda *call: calls.append(call))
    assert [total for _, total in calls] == [500] * len(calls)
    assert [done for done, _ in calls] == [220, 440, 500]
