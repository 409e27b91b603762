from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets import foreign
from tests.datasets.episodes import episode
from worldmodel.datasets.convert import convert
from worldmodel.datasets.read_lerobot import frames
from worldmodel.datasets.store import EpisodeStore
from worldmodel.errors import BadFile, MissingExtra, UnknownName

LENGTHS = (14, 9, 20, 11, 5)
VERSIONS = ("v2.1", "v3.0")


@pytest.fixture(autouse=True)
def _pyarrow() -> None:
    pytest.importorskip("pyarrow", reason="needs the extra lerobot")


def filmed(size: int = 32) -> list[dict[str, Any]]:
    """Episodes whose frames are of one grey each, which survives a video: four levels apart, all different in one."""
    episodes = [episode(i, rows, size) for i, rows in enumerate(LENGTHS)]
    for i, one in enumerate(episodes):
        rows = np.arange(len(one["pixels"]))
        one["pixels"][:] = (20 + 40 * i + 4 * rows).astype(np.uint8)[:, None, None, None]
    return episodes


@pytest.mark.parametrize("codec", [None, "libx264", "libsvtav1"])
@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_with_pictures_and_with_videos(version: str, codec: str | None, tmp_path: Path) -> None:
    """Every row has its own frame; version 3.0 keeps two episodes in a video, found by their first second."""
    episodes = filmed(64)
    source = foreign.write_lerobot(tmp_path, episodes, version, codec)
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="arm")) as store:
        assert store.lengths.tolist() == list(LENGTHS)
        assert store.attrs["camera"] == foreign.CAMERA and store.attrs["codebase_version"] == version
        assert store.attrs["fps"] == foreign.FPS
        for i, one in enumerate(episodes):
            error = store.read_episode("pixels", i).astype(int) - one["pixels"]
            assert np.abs(error).max() <= (0 if codec is None else 1)
            np.testing.assert_array_equal(store.read_episode("action", i), one["action"])
            np.testing.assert_array_equal(store.read_episode("state", i), one["state"])
            np.testing.assert_array_equal(store.read_episode("reward", i), one["reward"])
        assert {"next_done", "timestamp", "task_index"} <= set(store.columns)
        assert not {"frame_index", "episode_index", "index", "next_reward"} & set(store.columns)


def test_frames_are_found_from_any_second_on(tmp_path: Path) -> None:
    pictures = np.zeros((40, 16, 16, 3), np.uint8) + (np.arange(40, dtype=np.uint8) * 5 + 20)[:, None, None, None]
    foreign.encode(tmp_path / "a.mp4", pictures, "libx264")
    for start in (0, 1, 17, 39):
        found = np.stack(list(frames(tmp_path / "a.mp4", start / foreign.FPS, 40 - start, foreign.FPS)))
        assert np.abs(found.astype(int) - pictures[start:]).max() <= 1
    with pytest.raises(BadFile, match="a.mp4: frame 10 of 11 from second 3 on is missing"):
        list(frames(tmp_path / "a.mp4", 3.0, 11, foreign.FPS))


def test_the_camera_can_be_named(tmp_path: Path) -> None:
    source = foreign.write_lerobot(tmp_path, filmed())
    convert(source, tmp_path / "a.h5", env="arm", camera=foreign.CAMERA)
    with pytest.raises(UnknownName, match="unknown camera in .*'top': choose from observation.images.top"):
        convert(source, tmp_path / "b.h5", env="arm", camera="top")


def test_pictures_in_files_of_their_own(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    episodes = filmed()
    source = foreign.write_lerobot(tmp_path, episodes, "v2.1")
    file = source / "data" / "chunk-000" / "episode_000001.parquet"
    table = pq.read_table(file)
    named = []
    for number, picture in enumerate(table[foreign.CAMERA].to_pylist()):
        (source / f"{number}.png").write_bytes(picture["bytes"])
        named.append({"bytes": None, "path": f"{number}.png"})
    column = pa.array(named, table.schema.field(foreign.CAMERA).type)
    pq.write_table(table.set_column(table.schema.get_field_index(foreign.CAMERA), foreign.CAMERA, column), file)
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="arm")) as store:
        np.testing.assert_array_equal(store.read_episode("pixels", 1), episodes[1]["pixels"])


@pytest.mark.parametrize("version", VERSIONS)
def test_missing_and_damaged_files_are_named(version: str, tmp_path: Path) -> None:
    source = foreign.write_lerobot(tmp_path, filmed(), version, "libx264")

    def refused(says: str) -> None:
        with pytest.raises(BadFile, match=says) as caught:
            convert(source, tmp_path / "a.h5", env="arm")
        assert "\n" not in str(caught.value) and not (tmp_path / "a.h5").exists()

    video, data = (sorted(source.rglob(pattern))[-1] for pattern in ("*.mp4", "data/*/*.parquet"))
    for file in (video, data):
        whole = file.read_bytes()
        for cut in (len(whole) // 2, 0):
            file.write_bytes(whole[:cut])
            refused(file.name)
        file.unlink()
        refused(f"no such file: .*{file.name}")
        file.write_bytes(whole)
    short = "episode_000003.mp4" if version == "v2.1" else "file-001.mp4"
    foreign.encode(next(source.rglob(short)), filmed()[0]["pixels"][:4], "libx264")
    refused(f"{short}: frame 4 of .* is missing")


def test_other_versions_and_lost_columns_are_refused(tmp_path: Path) -> None:
    source = foreign.write_lerobot(tmp_path, filmed())
    file = source / "meta" / "info.json"
    info = json.loads(file.read_text())
    info["features"]["observation.force"] = {"dtype": "float32", "shape": [3]}
    file.write_text(json.dumps(info))
    with pytest.raises(BadFile, match="file-000.parquet has no column 'observation.force'"):
        convert(source, tmp_path / "a.h5", env="arm")
    file.write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(BadFile, match="version v1.6, expected one of v2.0, v2.1, v3.0"):
        convert(source, tmp_path / "a.h5", env="arm")
    file.write_text("{}")
    with pytest.raises(BadFile, match="info.json is damaged"):
        convert(source, tmp_path / "a.h5", env="arm")


def test_without_pyarrow_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = foreign.write_lerobot(tmp_path, filmed())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"pip install 'worldmodel\[lerobot\]'"):
        convert(source, tmp_path / "a.h5", env="arm")
