from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from tests.datasets import foreign
from tests.datasets.episodes import episode
from worldmodel.datasets.convert import convert
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry
from worldmodel.errors import BadFile, MissingExtra

EPISODES = [episode(i, rows) for i, rows in enumerate((6, 4, 9))]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari", reason="needs the extra minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def test_rows_are_observations_and_rewards_arrive_with_them(tmp_path: Path) -> None:
    source = foreign.write_minari(tmp_path, EPISODES)
    for number, name in enumerate((source, source / "data", "toy/test-v0")):  # folder or id
        with EpisodeStore(convert(name, tmp_path / f"{number}.h5", env="toy")) as store:
            for i, one in enumerate(EPISODES):
                for column in ("pixels", "action", "reward", "terminated", "truncated", "state"):
                    np.testing.assert_array_equal(store.read_episode(column, i), one[column])
            assert "text" not in store.columns


def test_dict_observations(tmp_path: Path) -> None:
    with EpisodeStore(convert(foreign.write_minari(tmp_path, EPISODES, "dict"), tmp_path / "a.h5", env="toy")) as store:
        np.testing.assert_array_equal(store.read_episode("pixels", 2), EPISODES[2]["pixels"])
        np.testing.assert_array_equal(store.read_episode("robot", 2), EPISODES[2]["state"])


def test_without_pictures_there_is_only_a_state(tmp_path: Path) -> None:
    source = foreign.write_minari(tmp_path, EPISODES, "state")
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="toy")) as store:
        assert "pixels" not in store.columns
        np.testing.assert_array_equal(store.read_episode("state", 1), EPISODES[1]["state"])


def test_the_environment_is_known(tmp_path: Path) -> None:
    registry.register()
    source = foreign.write_minari(tmp_path, EPISODES, env="worldmodel/TwoRoom-v0")
    with EpisodeStore(convert(source, tmp_path / "a.h5")) as store:
        assert store.env == "two-room"


def test_what_is_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadFile, match="no such Minari dataset: toy/none-v3 .get it with: minari download toy/none-v3"):
        convert("toy/none-v3", tmp_path / "a.h5", env="toy")
    source = foreign.write_minari(tmp_path, EPISODES, action_space=spaces.Discrete(3))
    with pytest.raises(BadFile, match=r"actions must be real numbers \(Box\), not Discrete"):
        convert(source, tmp_path / "a.h5", env="toy")
    (source / "data" / "metadata.json").write_text("{}")
    with pytest.raises(BadFile, match="test-v0 is not a Minari dataset that can be read"):
        convert(source, tmp_path / "a.h5", env="toy")
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtra, match=r"pip install 'worldmodel\[minari\]'"):
        convert(source, tmp_path / "a.h5", env="toy")
