"""Small datasets in the layouts of other projects, written as those projects write them."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import h5py
import numpy as np

Episodes = list[dict[str, Any]]
FPS = 10
CAMERA = "observation.images.top"


def write(format: str, folder: Path, episodes: Episodes) -> Path:
    """Write a dataset without loss and return its path."""
    return _WRITERS[format](folder, episodes)


def write_swm(folder: Path, episodes: Episodes, **columns: Any) -> Path:
    """One chunk a row and no filter, as stable-worldmodel's writer does; ``columns`` are added to the file."""
    path = folder / "swm.h5"
    lengths = np.asarray([len(one["pixels"]) for one in episodes])
    joined = {name: np.concatenate([one[name] for one in episodes]) for name in ("pixels", "action", "reward", "state")}
    joined |= {"ep_len": lengths.astype(np.int32), "ep_offset": np.cumsum(lengths) - lengths, **columns}
    with h5py.File(path, "w", libver="latest") as file:
        for name, values in joined.items():
            if values is not None:
                chunks = (1, *values.shape[1:]) if values.ndim > 1 else None
                file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]) if chunks else None)
    return path


def write_ogbench(folder: Path, episodes: Episodes) -> Path:
    """Last actions are numbers: the collecting policy acts once more."""
    path = folder / "task-play-v0.npz"
    lengths = [len(one["pixels"]) for one in episodes]
    np.savez_compressed(
        path,
        observations=np.concatenate([one["pixels"] for one in episodes]),
        actions=np.nan_to_num(np.concatenate([one["action"] for one in episodes]), nan=0.5),
        terminals=np.concatenate([np.arange(rows) == rows - 1 for rows in lengths]).astype(np.float32),
        qpos=np.concatenate([one["state"][:, :2] for one in episodes]).astype(np.float32),
        qvel=np.concatenate([one["state"][:, 2:] for one in episodes]).astype(np.float32),
    )
    return path


def write_minari(folder: Path, episodes: Episodes, observations: str = "pixels", **options: Any) -> Path:
    """``observations``: pixels, dict or state."""
    import minari
    from gymnasium import spaces

    picture = spaces.Box(0, 255, episodes[0]["pixels"].shape[1:], np.uint8)
    state = spaces.Box(-np.inf, np.inf, episodes[0]["state"].shape[1:], np.float64)
    space = {"pixels": picture, "state": state, "dict": spaces.Dict({"camera": picture, "robot": state})}[observations]
    buffers = []
    for one in episodes:
        seen = {"camera": one["pixels"], "robot": one["state"]} if observations == "dict" else one[observations]
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                observations=seen,
                actions=one["action"][:-1],
                rewards=one["reward"][1:],
                terminations=one["terminated"][1:],
                truncations=one["truncated"][1:],
                infos={"state": one["state"], "text": ["a"] * len(one["state"])},
            )
        )
    with mock.patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(folder)}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at everything that is not said about the author
        minari.create_dataset_from_buffers(
            "toy/test-v0",
            buffers,
            observation_space=space,
            action_space=options.pop("action_space", spaces.Box(-9, 99, (2,), np.float32)),
            data_format="hdf5",
            jpeg_encoding=False,
            **options,
        )
    return folder / "toy" / "test-v0"


def write_npz(folder: Path, episodes: Episodes) -> Path:
    """One action and one reward fewer than pictures, as most loops record them."""
    path = folder / "episodes"
    path.mkdir()
    for number, one in enumerate(episodes):
        np.savez(
            path / f"{number:04d}.npz",
            images=one["pixels"],
            actions=one["action"][:-1],
            rewards=one["reward"][1:],
            terminations=one["terminated"][1:],
            state=one["state"],
            note=np.asarray("text"),
        )
    return path


def write_lerobot(folder: Path, episodes: Episodes, version: str = "v3.0", codec: str | None = None) -> Path:
    """Two episodes a file in version 3.0. Pictures lie in the parquet files, or in videos when a codec is given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "lerobot"
    new, per_file = version == "v3.0", 2 if version == "v3.0" else 1
    size = episodes[0]["pixels"].shape[1]
    about: dict[str, Any] = {"dtype": "video" if codec else "image", "shape": [size, size, 3], "names": ["h", "w", "c"]}
    features = {
        "observation.images.depth": about | {"dtype": "video", "info": {"video.is_depth_map": True}},
        CAMERA: about,
        "observation.state": {"dtype": "float32", "shape": [3], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{k: {"dtype": "int64", "shape": [1]} for k in ("frame_index", "episode_index", "index", "task_index")},
    }
    data = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    if not new:
        data = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        video = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    info = {
        "codebase_version": version, "robot_type": None, "total_episodes": len(episodes), "chunks_size": 1000,
        "fps": FPS, "splits": {"train": f"0:{len(episodes)}"}, "features": features,
        "data_path": data, "video_path": video if codec else None,
    }  # fmt: skip
    (path / "meta").mkdir(parents=True)
    (path / "meta" / "info.json").write_text(json.dumps(info))
    places = []
    for first in range(0, len(episodes), per_file):
        group = range(first, min(first + per_file, len(episodes)))
        place = {"chunk_index": 0, "file_index": first // per_file, "episode_chunk": 0, "episode_index": first}
        tables, seconds = [], 0.0
        for number in group:
            one, rows = episodes[number], len(episodes[number]["pixels"])
            columns: dict[str, Any] = {
                "observation.state": list(one["state"].astype(np.float32)),
                "action": list(np.nan_to_num(one["action"], nan=0.5)),
                "next.reward": np.append(one["reward"][1:], np.float32(7)),
                "next.done": np.arange(rows) == rows - 1,
                "timestamp": np.arange(rows, dtype=np.float32) / FPS,
                "frame_index": np.arange(rows),
                "episode_index": np.full(rows, number),
                "index": np.arange(rows),
                "task_index": np.zeros(rows, np.int64),
            }
            if not codec:
                kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
                columns[CAMERA] = pa.array([{"bytes": _png(p), "path": None} for p in one["pixels"]], kind)
            tables.append(pa.table(columns))
            files = {"chunk_index": 0, "file_index": first // per_file}
            at = {f"{kind}/{k}": v for kind in ("data", f"videos/{CAMERA}") for k, v in files.items()}
            at |= {f"videos/{CAMERA}/from_timestamp": seconds, f"videos/{CAMERA}/to_timestamp": seconds + rows / FPS}
            seconds += rows / FPS
            places.append({"episode_index": number, "tasks": ["push"], "length": rows, **(at if new else {})})
        file = path / data.format(**place)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(tables), file)
        if codec:
            file = path / video.format(**place, video_key=CAMERA)
            file.parent.mkdir(parents=True, exist_ok=True)
            encode(file, np.concatenate([episodes[number]["pixels"] for number in group]), codec)
    if new:
        file = path / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([{**row, "stats/action/max": [1.0]} for row in places]), file)
    else:
        (path / "meta" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in places))
    return path


def encode(path: Path, pictures: np.ndarray, codec: str) -> None:
    """Write a video as LeRobot does: 4:2:0 colour, a key frame every second frame."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options={"crf": "5", "g": "2", "preset": "8"})
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "5", "g": "2"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


_WRITERS: dict[str, Any] = {
    "swm": write_swm,
    "ogbench": write_ogbench,
    "minari": write_minari,
    "npz": write_npz,
    "lerobot": write_lerobot,
}
NEEDS = {"minari": "minari", "lerobot": "pyarrow"}  # format -> package
