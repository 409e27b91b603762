from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.datasets.episodes import episode
from tests.oracles import happened_slow, windows_slow
from worldmodel.datasets import cache
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.windows import Windows, action_statistics, reward_scale
from worldmodel.errors import BadFile, BadValue, UnknownName

COLUMNS = ("pixels", "action", "reward", "terminated")


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 1)), min_size=1, max_size=6),
    length=st.integers(1, 6),
    stride=st.integers(1, 6),
)
def test_windows_equal_plain_loops(lengths: list[tuple[int, int]], length: int, stride: int) -> None:
    """Every valid start exactly once, none across an end, right rows and right concatenated actions."""
    episodes = [episode(i, rows, split=split) for i, (rows, split) in enumerate(lengths)]
    episodes = [one | {"terminated": np.arange(len(one["pixels"])) == len(one["pixels"]) - 1} for one in episodes]
    training = [one for one in episodes if one["split"] == 0]
    expected = windows_slow(training, length, stride)
    happened = [window for one in training for window in happened_slow(one, length, stride)]
    with TemporaryDirectory() as folder:
        with EpisodeStore(write_store(Path(folder) / "a.h5", episodes, {})) as store:
            if not expected:
                with pytest.raises(BadValue, match="no train episode has the"):
                    Windows(store, 0, length, stride)
                return
            windows, streaming = (
                Windows(store, 0, length, stride, (*COLUMNS, "episode_idx", "state"), cache) for cache in (True, False)
            )
        assert len(windows) == len(expected)
        batch = windows.batch(np.arange(len(windows)))  # the store is closed by now
        for name, values in streaming.batch(np.arange(len(windows))).items():
            np.testing.assert_array_equal(values, batch[name])
        np.testing.assert_array_equal(batch["pixels"], np.stack([pixels for pixels, _ in expected]))
        np.testing.assert_array_equal(batch["action"], np.stack([action for _, action in expected]))
        np.testing.assert_allclose(batch["reward"], [reward for reward, _ in happened], rtol=1e-6)
        np.testing.assert_array_equal(batch["terminated"], np.array([ended for _, ended in happened], bool))
        assert (batch["episode_idx"] == batch["episode_idx"][:, :1]).all()
        assert np.isfinite(batch["action"]).all() and batch["action"].dtype == np.float32
        assert batch["state"].shape == (len(expected), length, 3)


def test_any_order_and_repeats(tmp_path: Path) -> None:
    store = EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 20), episode(1, 12)], {}))
    windows = Windows(store, "train", 3, 2)
    everything, order = windows.batch(np.arange(len(windows))), np.asarray([5, 0, 5, len(windows) - 1])
    for name, values in windows.batch(order).items():
        np.testing.assert_array_equal(values, everything[name][order])


@given(rows=st.lists(st.integers(1, 30), min_size=1, max_size=4), cut=st.booleans(), steps=st.integers(0, 40))
def test_later_rows_stay_in_the_episode(rows: list[int], cut: bool, steps: int) -> None:
    with TemporaryDirectory() as folder:
        path = write_store(Path(folder) / "a.h5", [episode(i, n) for i, n in enumerate(rows)], {})
        with EpisodeStore(path) as store, contextlib.suppress(BadValue):  # no episode is that long
            windows = Windows(store, 0, 2, 3, (), cut=cut)
            every = np.arange(len(windows))
            found, now = (windows.later_rows(every, 1, np.full(len(every), k)) for k in (steps, 0))
            number = store.read("episode_idx", 0, store.rows)
            np.testing.assert_array_equal(number[found], number[now])
            end = store.offsets[number[now]] + store.lengths[number[now]] - 1
            np.testing.assert_array_equal(found, [min(row + steps, last) for row, last in zip(now, end)])


@given(rows=st.lists(st.integers(1, 30), min_size=1, max_size=4), length=st.integers(2, 5), stride=st.integers(1, 5))
def test_cut_windows_are_those_that_cannot_be_longer(rows: list[int], length: int, stride: int) -> None:
    """Together with the long ones, every start has exactly one window: the longest it can have."""
    with TemporaryDirectory() as folder:
        path = write_store(Path(folder) / "a.h5", [episode(i, n) for i, n in enumerate(rows)], {})
        with EpisodeStore(path) as store:
            found: list[int] = []
            for shorter in range(1, length + 1):
                with contextlib.suppress(BadValue):  # no episode is that long
                    found += Windows(store, 0, shorter, stride, ("action",), cut=shorter < length).starts.tolist()
    assert sorted(found) == list(range(sum(rows)))


@pytest.mark.parametrize("size", [16, 224])
def test_streaming_gives_the_same_windows(size: int, tmp_path: Path) -> None:
    """In any order and with repeats, from chunks of 20 rows and of 1, and no cache is made."""
    path = write_store(tmp_path / "a.h5", [episode(0, 23, size), episode(1, 12, size)], {})
    with EpisodeStore(path) as store:
        streaming = Windows(store, "train", 3, 4, cache=False)
        assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]
        cached = Windows(store, "train", 3, 4, cache=True)
    path.unlink()  # both hold what they need
    order = np.asarray([5, 0, 5, len(cached) - 1, 1])
    batch, expected = streaming.batch(order), cached.batch(order)
    assert batch["pixels"].shape == (5, 3, size, size, 3) and set(batch) == set(expected)
    for name, values in batch.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize(("limited", "room"), [("memory", 9000), ("disk", 9000), ("neither", 9400)])
def test_what_would_take_more_than_half_is_streamed(
    limited: str, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 pictures of 8 px are 4608 bytes: half of 9216."""
    store = EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 24)], {}))
    monkeypatch.setattr(cache, "memory", lambda: room if limited != "disk" else 1e9)
    disk = SimpleNamespace(free=room if limited != "memory" else 10**9)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: disk)
    Windows(store, 0, 2, 1).batch(np.arange(3))
    assert (tmp_path / "a.h5.cache").exists() == (limited == "neither")
    if limited == "neither":  # what the cache took is not missing
        disk.free -= 4736
        assert cache.fits(store, "pixels")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_reads_its_own_file(tmp_path: Path) -> None:
    """As a DataLoader's workers do; a shared file position would mix up what both read."""
    path = write_store(tmp_path / "a.h5", [episode(i, 60, 64) for i in range(3)], {})
    with EpisodeStore(path) as store:
        windows = Windows(store, 0, 2, 1, cache=False)
    loader = DataLoader(
        range(len(windows)), 16, num_workers=2, collate_fn=windows.batch, multiprocessing_context="fork"
    )
    pixels = np.concatenate([batch["pixels"] for batch in loader])
    np.testing.assert_array_equal(pixels, windows.batch(np.arange(len(windows)))["pixels"])


def test_bad_arguments(tmp_path: Path) -> None:
    store = EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 20)], {}))
    with pytest.raises(BadValue, match="window length: expected at least 1, got 0"):
        Windows(store, 0, 0)
    with pytest.raises(BadValue, match="window stride: expected at least 1"):
        Windows(store, 0, 2, 0)
    with pytest.raises(BadValue, match=r"has the 21 rows that 5 frames 5 apart need \(the longest of 1 has 20\)"):
        Windows(store, 0, 5, 5)
    with pytest.raises(BadValue, match="no test episode"):
        Windows(store, "test", 2, 1)
    with pytest.raises(UnknownName, match="did you mean 'action'"):
        Windows(store, 0, 2, 1, ("actions",))


def test_action_statistics_leave_out_last_rows_and_other_splits(tmp_path: Path) -> None:
    episodes = [episode(0, 20), episode(1, 30, split=1), episode(2, 10)]
    store = EpisodeStore(write_store(tmp_path / "a.h5", episodes, {}))
    rows = np.concatenate([episodes[0]["action"][:-1], episodes[2]["action"][:-1]]).astype(np.float64)
    mean, std = action_statistics(store)
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(std, rows.std(axis=0))
    with pytest.raises(BadFile, match="the test split holds no action"):
        action_statistics(store, 2)


def test_scale_of_rewards(tmp_path: Path) -> None:
    path = write_store(tmp_path / "a.h5", [episode(0, 3), episode(1, 9, split=1)], {})
    with EpisodeStore(path) as store:
        assert reward_scale(store) == pytest.approx(np.sqrt((1 + 4) / 2))  # rewards -1 and -2
    nothing = {**episode(0, 3), "reward": np.array([np.nan, 0.0, 0.0], np.float32)}
    with EpisodeStore(write_store(tmp_path / "b.h5", [nothing], {})) as store:
        assert reward_scale(store) == 1.0
    without = {name: values for name, values in episode(0, 3).items() if name != "reward"}
    holes = {**episode(0, 3), "reward": np.full(3, np.nan, np.float32)}
    for bad, says in ((without, "no column 'reward', from which the heads"), (holes, "not finite")):
        path = write_store(tmp_path / "bad.h5", [bad], {})
        with EpisodeStore(path) as store, pytest.raises(BadFile, match=says):
            reward_scale(store)
