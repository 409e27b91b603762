from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.split import new_split, resplit
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.errors import BadFile, BadValue, UnknownName

EPISODES = 20


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    episodes = (episode(i, 15 + i % 7, split=2 * (i >= 17)) for i in range(EPISODES))
    return write_store(tmp_path / "a.h5", episodes, {"env": "pusht", "seed": 4, "policies": {"weak": EPISODES}})


def numbers(store: EpisodeStore) -> list[int]:
    """Which of the dataset's episodes these are, after a look at all their rows."""
    found = []
    for position in range(len(store)):
        number = int(store.read_episode("pixels", position)[0, 0, 0, 0])
        for name, values in episode(number, 15 + number % 7).items():
            rows = store.read_episode(name, position)
            if name != "split":
                np.testing.assert_array_equal(rows, np.broadcast_to(values, rows.shape))
        found.append(number)
    return found


def test_a_new_split_of_all_episodes(dataset: Path, tmp_path: Path) -> None:
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    calls: list[tuple[int, int]] = []
    with verify(resplit(dataset, tmp_path / "b.h5", shares, 1, progress=lambda *c: calls.append(c))) as store:
        assert np.bincount(store.split).tolist() == [16, 2, 2]
        assert numbers(store) == list(range(EPISODES))
        assert store.attrs["seed"] == 4 and store.attrs["policies"] == {"weak": EPISODES}
        assert store.attrs["sources"][0]["file"] == "a.h5"
        assert calls[-1] == (store.rows, store.rows)
    with EpisodeStore(resplit(dataset, tmp_path / "c.h5", shares, 2)) as other:
        assert (other.split != store.split).any()


def test_what_the_shares_leave_is_left_out(dataset: Path, tmp_path: Path) -> None:
    with verify(resplit(dataset, tmp_path / "b.h5", {"train": 0.4, "test": 0.1})) as store:
        assert np.bincount(store.split).tolist() == [8, 0, 2] and store.attrs["policies"] == {"weak": 10}
        expected = np.flatnonzero(new_split(EPISODES, {"train": 0.4, "test": 0.1}, 0) >= 0)
        assert numbers(store) == expected.tolist()


def test_one_split_only(dataset: Path, tmp_path: Path) -> None:
    with verify(resplit(dataset, tmp_path / "b.h5", only="test")) as store:
        assert numbers(store) == [17, 18, 19] and store.split.tolist() == [2, 2, 2]
    shares = {"train": 0.5, "test": 0.5}
    one, other = (resplit(dataset, tmp_path / f"{name}.h5", shares, only=name) for name in ("train", "test"))
    with verify(one) as train, verify(other) as test:
        assert sorted(numbers(train) + numbers(test)) == list(range(EPISODES))


def test_mistakes(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.h5"
    for shares, says in (
        ({"train": 1.2}, "train: expected a share from 0 to 1, got 1.2"),
        ({"train": 0.9, "test": 0.2}, "add up to more than 1"),
        ({"train": 0.9, "test": 0.01}, "test: 0.01 of 20 episodes is none"),
        ({"train": 0.0}, "no episode is left"),
    ):
        with pytest.raises(BadValue, match=says):
            resplit(dataset, out, shares)
    with pytest.raises(BadValue, match="only: .*a.h5 has no validation episode"):
        resplit(dataset, out, only="validation")
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        resplit(dataset, out, only="trian")
    with pytest.raises(BadFile, match="a.h5 is already there"):
        resplit(dataset, dataset, only="train")
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]
