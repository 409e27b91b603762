"""Reading LeRobot datasets of versions 2.0, 2.1 and 3.0 as they lie on disk; the ``lerobot`` package is not needed.

``meta/info.json`` names the columns (features), their types and where the files are. Version 2 keeps one parquet file
and one video a camera for each episode. Version 3 keeps many episodes in each; ``meta/episodes/`` says in which files
an episode is and from which second of the video on. Number k of an episode's frames is shown at k / fps.

``observation.state`` is the state. ``next.reward`` is of the action on its row and moves to the row after. One camera
is read, depth pictures never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.sources import Source, listed, reading
from worldmodel.errors import BadFile, MissingExtra, UnknownName
from worldmodel.files import read_json

VERSIONS = ("v2.0", "v2.1", "v3.0")
NAMES = {"observation.state": "state", "next.reward": "reward"}  # theirs -> ours; dots become underscores in others
_COUNTERS = ("episode_index", "frame_index", "index")
_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
)  # pyarrow's and PyAV's errors are among them


def read_lerobot(path: Path, camera: str | None = None) -> Source:
    """Read a LeRobot dataset.

    Args:
        path: the dataset's folder, which holds ``meta/info.json``.
        camera: feature with the pictures; the first whose name begins with ``observation.image`` when left out.

    Raises:
        MissingExtra: ``pyarrow`` is not installed.
        UnknownName: no such camera.
        BadFile: a file is missing, damaged, or of a version that is not known.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtra("reading LeRobot datasets", "lerobot") from error
    info = read_json(path / "meta" / "info.json")
    with reading(path / "meta" / "info.json", *_ERRORS):
        version, fps, features = str(info["codebase_version"]), float(info["fps"]), dict(info["features"])
        patterns = {"image": "", "video": str(info.get("video_path")), "data": str(info["data_path"])}
        cameras = [name for name, about in features.items() if about["dtype"] in patterns and not _is_depth(about)]
    if version not in VERSIONS:
        raise BadFile(f"{path} is of LeRobot's version {version}, expected one of {', '.join(VERSIONS)}")
    if camera is not None and camera not in cameras:
        raise UnknownName(f"camera in {path}", camera, cameras)
    camera = camera or next((name for name in cameras if name.startswith("observation.image")), None)
    attrs: dict[str, Any] = {"fps": fps, "codebase_version": version}
    if camera is not None:
        attrs["camera"] = camera
    episodes = _places(path, info, version)
    return Source(attrs, len(episodes), _episodes(path, patterns, features, camera, fps, episodes))


def _is_depth(about: dict[str, Any]) -> bool:
    notes = {**(about.get("info") or {}), **(about.get("video_info") or {})}
    return bool(notes.get("is_depth_map") or notes.get("video.is_depth_map"))


def _places(path: Path, info: dict[str, Any], version: str) -> list[dict[str, Any]]:
    """Say for each episode what fills in the patterns of its files' names."""
    if version.startswith("v2"):
        file = path / "meta" / "episodes.jsonl"
        with reading(file, *_ERRORS):
            size = int(info.get("chunks_size", 1000))
            numbers = [int(json.loads(line)["episode_index"]) for line in file.read_text().splitlines() if line]
            return [{"episode_index": number, "episode_chunk": number // size} for number in numbers]
    files = listed(path / "meta" / "episodes", "*/*.parquet")
    if not files:
        raise BadFile(f"{path} holds no meta/episodes/*/*.parquet")
    return [row for file in files for row in _table(file, stats=False).to_pylist()]


def _episodes(
    path: Path,
    patterns: dict[str, str],
    features: dict[str, Any],
    camera: str | None,
    fps: float,
    places: list[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    scalars = [name for name, about in features.items() if about["dtype"] not in ("image", "video", "string")]
    stored = [camera] if camera and features[camera]["dtype"] == "image" else []
    opened: Path | None = None
    table: Any = None
    for place in places:
        number = int(place["episode_index"])
        file = _file(path, patterns["data"], place, "data")
        if file != opened:  # of version 3 holds the next episodes too
            opened, table = file, _table(file, [*scalars, *stored])
        with reading(f"{file}: episode {number}", *_ERRORS):
            rows = table.filter(_equal(table, number))
        if not len(rows):
            raise BadFile(f"{file} holds no rows of episode {number}")
        episode: dict[str, Any] = {}
        for name in scalars:
            with reading(f"{file}: episode {number}: column {name!r}", *_ERRORS):
                if name not in _COUNTERS:
                    episode[NAMES.get(name, name)] = _values(rows[name])
        if "reward" in episode:
            episode["reward"] = episode["reward"].reshape(-1)[:-1]
        if stored:
            episode["pixels"] = _stored(path, rows[camera])
        elif camera is not None:
            start = float(place.get(f"videos/{camera}/from_timestamp", 0.0))
            video = _file(path, patterns["video"], place, f"videos/{camera}", video_key=camera)
            episode["pixels"] = frames(video, start, len(rows), fps)
        yield episode


def _file(path: Path, pattern: str, place: dict[str, Any], kind: str, **more: str) -> Path:
    fields = {name: place.get(f"{kind}/{name}") for name in ("chunk_index", "file_index")}
    with reading(f"{path / 'meta'}: the place of episode {place['episode_index']}", *_ERRORS):
        file = path / pattern.format(**{**place, **fields, **more})
    if not file.is_file():
        raise BadFile(f"no such file: {file} (episode {place['episode_index']} is said to be there)")
    return file


def _table(file: Path, names: list[str] | None = None, stats: bool = True) -> Any:
    import pyarrow.parquet as parquet

    with reading(file, *_ERRORS):
        opened = parquet.ParquetFile(file)
        there = opened.schema_arrow.names
        for name in names or ():
            if name not in there:
                raise BadFile(f"{file} has no column {name!r}, which meta/info.json names")
        return opened.read(columns=names or [name for name in there if stats or not name.startswith("stats/")])


def _equal(table: Any, number: int) -> Any:
    import pyarrow.compute as compute

    return compute.equal(table["episode_index"], number)


def _values(column: Any) -> np.ndarray:
    """Return a column as (rows, ...) array of its own type."""
    kind = column.type
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    values = np.asarray(column.to_pylist())
    return values.astype(kind.to_pandas_dtype()) if values.dtype.kind in "biuf" else values


def _stored(path: Path, column: Any) -> Iterator[np.ndarray]:
    """Decode pictures that lie in the table, or in files which it names."""
    import cv2

    for number, picture in enumerate(column.to_pylist()):
        with reading(f"{path}: picture {number}", *_ERRORS, cv2.error):
            data = picture["bytes"] or (path / picture["path"]).read_bytes()
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if decoded is None:
                raise ValueError("it is not a picture")
        yield cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def frames(file: Path, start: float, count: int, fps: float) -> Iterator[np.ndarray]:
    """Decode ``count`` frames of a video, (height, width, 3) uint8, beginning ``start`` seconds after its own.

    Raises:
        BadFile: the video is damaged, or a frame is missing.
    """
    import av

    number = 0
    with reading(file, *_ERRORS, av.error.FFmpegError), av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(int(start / float(stream.time_base or 1)), stream=stream)  # to the key frame before
        for frame in container.decode(stream):
            position = round((frame.time - start) * fps)
            if position > number:
                break
            if position == number:
                yield frame.to_ndarray(format="rgb24")
                number += 1
                if number == count:
                    return
    raise BadFile(f"{file}: frame {number} of {count} from second {start:g} on is missing")
