from __future__ import annotations

import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import foreign
from tests.datasets.episodes import episode
from worldmodel.datasets.convert import convert
from worldmodel.datasets.read_ogbench import NpzColumn, read_ogbench
from worldmodel.datasets.store import EpisodeStore
from worldmodel.errors import BadFile

EPISODES = [episode(i, rows) for i, rows in enumerate((6, 4, 9))]


def test_trajectories_end_at_terminals_and_states_are_positions_and_velocities(tmp_path: Path) -> None:
    path = convert(foreign.write_ogbench(tmp_path, EPISODES), tmp_path / "a.h5", env="cube", format="ogbench")
    with EpisodeStore(path) as store:
        assert store.lengths.tolist() == [6, 4, 9]
        assert np.flatnonzero(store.read("truncated", 0, 19)).tolist() == [5, 9, 18]
        assert {"state", "qpos", "qvel", "pixels"} <= set(store.columns)
        assert not {"observation", "observations", "terminals"} & set(store.columns)


def test_the_file_beside_it_is_the_validation_split(tmp_path: Path) -> None:
    source = foreign.write_ogbench(tmp_path, EPISODES)
    (tmp_path / "other").mkdir()
    held_out = foreign.write_ogbench(tmp_path / "other", EPISODES[:1])
    shutil.move(held_out, tmp_path / "task-play-v0-val.npz")
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="cube")) as store:
        assert store.split.tolist() == [0, 0, 0, 1]
        np.testing.assert_array_equal(store.read_episode("pixels", 3), EPISODES[0]["pixels"])
    with EpisodeStore(convert(source, tmp_path / "b.h5", env="cube", seed=0)) as store:
        assert sorted(store.split.tolist()) == [0, 0, 1, 2]


def test_states_only_make_a_dataset_without_pictures(tmp_path: Path) -> None:
    """As the antmaze files: observations are float32; without a last terminal the trajectory was cut."""
    rows = np.arange(10.0, dtype=np.float32)
    terminals = np.isin(rows, [3]).astype(np.float32)
    action = np.stack([rows, rows], axis=1) / 10
    np.savez_compressed(tmp_path / "maze.npz", observations=rows[:, None], actions=action, terminals=terminals)
    with EpisodeStore(convert(tmp_path / "maze.npz", tmp_path / "a.h5", env="pointmaze")) as store:
        assert store.lengths.tolist() == [4, 6] and "pixels" not in store.columns
        np.testing.assert_array_equal(store.read("state", 0, 10)[:, 0], rows)
        assert store.attrs["action_low"] == [-1, -1] and store.attrs["action_high"] == [1, 1]
        with pytest.raises(BadFile, match="has no column 'pixels'"):
            _ = store.image_size


def test_columns_are_read_in_pieces(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    np.savez_compressed(tmp_path / "a.npz", values=values, text=np.asarray(["a"], object))
    with NpzColumn(tmp_path / "a.npz", "values") as column:
        assert (column.shape, column.dtype) == ((50, 3), values.dtype)
        np.testing.assert_array_equal(np.concatenate([column.rows(20), column.rows(30)]), values)
        column.end()
        with pytest.raises(BadFile, match="a.npz: column 'values' is damaged"):
            column.rows(1)
    with pytest.raises(BadFile, match="column 'text' must hold numbers"):
        NpzColumn(tmp_path / "a.npz", "text")


def test_memory_is_that_of_one_trajectory(tmp_path: Path) -> None:
    """A visual file is larger unpacked than most memories."""
    rows, length = 20_000, 200
    np.savez_compressed(
        tmp_path / "visual.npz",
        observations=np.zeros((rows, 32, 32, 3), np.uint8),
        actions=np.zeros((rows, 5), np.float32),
        terminals=np.arange(rows) % length == length - 1,
    )
    tracemalloc.start()
    source = read_ogbench(tmp_path / "visual.npz")
    assert sum(len(one["pixels"]) for one in source.episodes) == rows
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * 32 * 32 * 3 / 10  # of 61 MB


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    source = foreign.write_ogbench(tmp_path, EPISODES)
    with np.load(source) as file:
        arrays = dict(file)
    for changes, says in (
        ({"qvel": arrays["qvel"][:-1]}, r"column 'qvel' has \(18, 1\) values, 'terminals' 19 rows"),
        ({"actions": np.zeros(19, int)}, "episode 0: column 'action' must hold real numbers"),
        ({"terminals": np.zeros((19, 2))}, "column 'terminals' must hold one number a row"),
    ):
        np.savez(source, **arrays | changes)
        with pytest.raises(BadFile, match=f"task-play-v0.npz: {says}"):
            convert(source, tmp_path / "a.h5", env="cube")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("observations.npy", b"not an array")
    with pytest.raises(BadFile, match="task-play-v0.npz is not an OGBench dataset: it has no column 'actions'"):
        convert(source, tmp_path / "a.h5", env="cube", format="ogbench")
