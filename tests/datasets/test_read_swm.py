from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.datasets import foreign
from tests.datasets.episodes import episode
from worldmodel.datasets.convert import convert
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs.registry import make
from worldmodel.errors import BadFile, MissingExtra

LENGTHS = (7, 5, 9)
EPISODES = [episode(i, rows) for i, rows in enumerate(LENGTHS)]
ROWS = sum(LENGTHS)
OWNER = np.repeat(np.arange(3), LENGTHS)


def convert_swm(folder: Path, env: str = "toy", **columns: Any) -> EpisodeStore:
    """Convert a file with these columns added, or left out where None."""
    source = foreign.write_swm(folder, EPISODES, **columns)
    return EpisodeStore(convert(source, folder / "a.h5", env=env))


@pytest.mark.parametrize(
    "columns",
    [
        {"episode_idx": OWNER},
        {"ep_offset": None},
        {"ep_len": None, "ep_offset": None, "episode_idx": 10 - OWNER},  # numbered in any way
        {"ep_len": None, "ep_offset": None, "ep_idx": OWNER.astype(np.float32)},
        {"action": np.concatenate([np.append(e["action"][:-1], [[9, 9]], axis=0) for e in EPISODES]).astype("f4")},
    ],
)
def test_index_and_last_actions_in_every_form(columns: dict[str, Any], tmp_path: Path) -> None:
    with convert_swm(tmp_path, **columns) as store:
        assert store.lengths.tolist() == list(LENGTHS)
        assert store.read("episode_idx", 0, ROWS).tolist() == OWNER.tolist() and "ep_idx" not in store.columns
        for i, one in enumerate(EPISODES):
            np.testing.assert_array_equal(store.read_episode("action", i), one["action"])
            np.testing.assert_array_equal(store.read_episode("pixels", i), one["pixels"])


def test_columns_are_kept_under_plain_names_without_other_pictures_and_text(tmp_path: Path) -> None:
    block = np.random.default_rng(0).normal(size=(ROWS, 3))
    columns = {"privileged/block_0_pos": block, "variation.agent.color": np.arange(ROWS), "n_contacts": np.ones(ROWS)}
    more = {"goal": np.zeros((ROWS, 8, 8, 3), np.uint8), "env_name": np.full(ROWS, b"swm/OGBCube")}
    with convert_swm(tmp_path, **columns, **more, split=np.full(ROWS, 77)) as store:
        np.testing.assert_array_equal(store.read("privileged_block_0_pos", 0, ROWS), block)
        assert {"source_variation_agent_color", "n_contacts"} <= set(store.columns)
        assert not {"goal", "env_name"} & set(store.columns)
        assert sorted(store.split.tolist()) == [0, 1, 2]  # theirs meant something else


def test_states_of_robots_are_positions_and_velocities(tmp_path: Path) -> None:
    qpos, qvel = np.random.default_rng(0).normal(size=(2, ROWS, 4))
    with convert_swm(tmp_path, state=None, qpos=qpos, qvel=qvel) as store:
        np.testing.assert_array_equal(store.read("state", 0, ROWS), np.concatenate([qpos, qvel], axis=1))
        np.testing.assert_array_equal(store.read("qpos", 0, ROWS), qpos)


@pytest.mark.parametrize("numbers", [5, 7])
def test_states_of_pusht_are_completed(numbers: int, tmp_path: Path) -> None:
    state = np.random.default_rng(0).uniform(100, 200, (ROWS, numbers)).astype(np.float32)
    with convert_swm(tmp_path, "pusht", state=state) as store:
        ours = store.read("state", 0, ROWS)
    np.testing.assert_array_equal(ours[:, :numbers], state)
    assert ours.shape == (ROWS, make("pusht").unwrapped.state_dim) and not ours[:, numbers:].any()


@pytest.mark.parametrize("column", ["pos_agent", "proprio", "state", "observation"])
def test_states_of_two_room_are_the_agents_place(column: str, tmp_path: Path) -> None:
    place = np.random.default_rng(0).uniform(20, 200, (ROWS, 2)).astype(np.float32)
    values = np.concatenate([place, np.zeros((ROWS, 8), np.float32)], axis=1) if column == "observation" else place
    with convert_swm(tmp_path, "two-room", **{"state": None, column: values}) as store:
        np.testing.assert_array_equal(store.read("state", 0, ROWS), place)


def test_filters_of_hdf5plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="needs the extra hdf5plugin")
    source = foreign.write_swm(tmp_path, EPISODES, pixels=None)
    pixels = np.concatenate([one["pixels"] for one in EPISODES])
    with h5py.File(source, "a") as file:
        file.create_dataset("pixels", data=pixels, chunks=(1, 8, 8, 3), **hdf5plugin.Blosc())
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="toy")) as store:
        np.testing.assert_array_equal(store.read("pixels", 0, ROWS), pixels)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 256)
    with pytest.raises(MissingExtra, match=r"swm.h5: .* column 'pixels' .*pip install 'worldmodel\[hdf5plugin\]'"):
        convert(source, tmp_path / "b.h5", env="toy")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"reward": np.zeros(ROWS - 1)}, "column 'reward' has 20 rows, the episodes 21"),
        ({"ep_len": np.asarray([7, 5])}, "columns 'ep_len' and 'ep_offset' do not fit together"),
        ({"ep_len": np.asarray([7, 0, 9])}, "columns 'ep_len' and 'ep_offset' do not fit together"),
        ({"ep_len": None, "ep_idx": OWNER % 2}, "column 'ep_idx' does not keep the rows of an episode together"),
        ({"ep_len": np.zeros((3, 2))}, "column 'ep_len' must hold one number each"),
        ({"action": None}, "episode 0: there is no column 'action'"),
        ({"action": np.full((ROWS, 2), np.nan)}, "episode 0: column 'action' is not finite at step 0"),
        ({"action": np.zeros(ROWS, np.int64)}, "episode 0: column 'action' must hold real numbers"),
        ({"pixels": np.zeros((ROWS, 3, 8, 8), np.uint8)}, r"column 'pixels' must hold uint8 .*not uint8 \(3, 8, 8\)"),
    ],
)
def test_what_is_wrong_is_named(columns: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=f"swm.h5: {says}" if not says.startswith("column 'pixels'") else says):
        convert_swm(tmp_path, **columns)
    assert [item.name for item in tmp_path.iterdir()] == ["swm.h5"]


def test_damaged_rows_name_episode_and_column(tmp_path: Path) -> None:
    source = foreign.write_swm(tmp_path, EPISODES, state=None)
    with h5py.File(source, "a") as file:
        file.create_dataset(
            "state", data=np.random.default_rng(0).normal(size=(ROWS, 3)), chunks=(7, 3), fletcher32=True
        )
        chunk = file["state"].id.get_chunk_info(2)
    content = bytearray(source.read_bytes())
    content[chunk.byte_offset + 9] ^= 4
    source.write_bytes(content)
    with pytest.raises(BadFile, match="swm.h5: episode 2: column 'state' is damaged"):
        convert(source, tmp_path / "a.h5", env="toy")


def test_a_foreign_file_says_what_is_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/obs"] = np.zeros((4, 3))
    with pytest.raises(BadFile, match="a.h5 is not a stable-worldmodel dataset: it has no column ep_len, episode_idx"):
        convert(tmp_path / "a.h5", tmp_path / "b.h5", env="toy", format="swm")
