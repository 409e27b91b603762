from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.convert import convert
from worldmodel.datasets.store import EpisodeStore
from worldmodel.errors import BadFile


def test_names_and_rows_in_every_form(tmp_path: Path) -> None:
    """A file each: other names; grey pictures, one action a row, rewards on arrival, the split and one number."""
    one = episode(0, 6)
    first = {"observations": one["pixels"], "action": one["action"][:-1], "rewards": one["reward"][1:]}
    second = {"pixels": one["pixels"][..., 0], "actions": np.nan_to_num(one["action"]), "reward": one["reward"]}
    for number, arrays in enumerate((first, second)):
        np.savez(tmp_path / "1.npz", **arrays, split=np.asarray(2), mass=np.asarray(1.5))
        path = convert(tmp_path, tmp_path / f"{number}.h5", env="toy", format="npz")
        with EpisodeStore(path) as store:
            np.testing.assert_array_equal(store.read("pixels", 0, 6)[..., 0], one["pixels"][..., 0])
            np.testing.assert_array_equal(store.read("action", 0, 6), one["action"])
            np.testing.assert_array_equal(store.read("reward", 0, 6), one["reward"])
            assert store.split.tolist() == [2] and store.read("mass", 0, 6).tolist() == [1.5] * 6
            assert "state" not in store.columns


def test_flat_observations_are_the_state(tmp_path: Path) -> None:
    one = episode(0, 6)
    np.savez(tmp_path / "1.npz", observations=one["state"], actions=one["action"])
    with EpisodeStore(convert(tmp_path, tmp_path / "a.h5", env="toy")) as store:
        np.testing.assert_array_equal(store.read("state", 0, 6), one["state"])
        assert "pixels" not in store.columns


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no npz file"):
        convert(tmp_path, tmp_path / "a.h5", env="toy", format="npz")
