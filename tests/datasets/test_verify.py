from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.errors import BadFile


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_store(tmp_path / "a.h5", (episode(i, 25, size=16) for i in range(4)), {"env": "pusht"})


def test_a_sound_dataset(dataset: Path) -> None:
    calls: list[tuple[int, int]] = []
    with verify(dataset, lambda done, total: calls.append((done, total))) as store:
        assert len(store) == 4
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("column", "row", "value", "says"),
    [
        ("state", 30, np.nan, "episode 1: column 'state' is not finite at step 5"),
        ("action", 0, np.inf, "episode 0: column 'action' is not finite at step 0"),
        ("reward", 27, np.nan, "episode 1: column 'reward' is not finite at step 2"),
        ("split", 60, 2, "episode 2: column 'split' changes within the episode"),
        ("step_idx", 99, 0, "episode 3: column 'step_idx' does not count"),
        ("episode_idx", slice(25, 50), 2, "episode 1: column 'episode_idx' says 2"),
    ],
)
def test_wrong_values_name_episode_and_column(dataset: Path, column: str, row: object, value: float, says: str) -> None:
    with h5py.File(dataset, "a") as file:
        file[column][row] = value
    with pytest.raises(BadFile, match=says):
        verify(dataset)


def test_wrong_pixels(dataset: Path) -> None:
    with h5py.File(dataset, "a") as file:
        del file["pixels"]
        file["pixels"] = np.zeros((100, 16, 16, 3), np.float32)
    with pytest.raises(BadFile, match=r"episode 0: column 'pixels' must hold uint8.*and 3 more problems"):
        verify(dataset)


def test_a_column_of_text_where_numbers_belong(dataset: Path) -> None:
    with h5py.File(dataset, "a") as file:
        del file["state"]
        file["state"] = np.array([b"far"] * 100)
    with pytest.raises(BadFile, match=r"episode 0: column 'state' must hold numbers, not \|S3"):
        verify(dataset)


def test_a_flipped_bit_in_the_data_names_column_and_episode(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        chunk = file["state"].id.get_chunk_info(0)
    _flip(dataset, chunk.byte_offset + chunk.size // 2)
    with EpisodeStore(dataset) as store, pytest.raises(BadFile, match="column 'state' is damaged at episode 3"):
        store.read_episode("state", 3)
    with pytest.raises(BadFile, match="column 'state' is damaged at episode 0"):
        verify(dataset)


def test_a_flipped_bit_anywhere_is_found_or_harmless(dataset: Path, tmp_path: Path) -> None:
    """Never a wrong number, never another exception than ours, wherever the bit lies."""
    columns, attrs = _content(dataset)
    caught = 0
    for position in np.random.default_rng(0).integers(0, dataset.stat().st_size, 150):
        copy = Path(shutil.copy(dataset, tmp_path / "flipped.h5"))
        _flip(copy, int(position))
        try:
            verify(copy).close()
        except BadFile as error:
            assert "\n" not in str(error)
            caught += 1
        else:
            changed, changed_attrs = _content(copy)
            assert changed_attrs == attrs
            for name, values in columns.items():
                np.testing.assert_array_equal(values, changed[name])
    assert caught > 20


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << position % 8
    path.write_bytes(content)


def _content(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    with EpisodeStore(path) as store:
        return {name: store.read(name, 0, store.rows) for name in store.columns}, store.attrs
