"""Decoded frames, kept beside the dataset as one memory-mapped array, so that a batch is a gather and nothing else."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np

from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import IMAGE_CHUNK
from worldmodel.errors import BadFile
from worldmodel.files import replacing

_BLOCK = 50 * IMAGE_CHUNK  # rows decoded at a time
_homes: dict[str, Path] = {}  # temporary caches of this process, by fingerprint


class FrameCache:
    """All rows of one column of a store, decoded once: 100,000 frames of 64 px take 1.2 GB of disk, and page cache.

    The array lies in ``<file>.cache/`` and its name carries the store's fingerprint, so that a dataset made anew gets a
    new cache and the old one is removed. Where that folder cannot be written, a temporary one serves until the process
    ends.

    Attributes:
        frames: (N, ...) read-only array.
    """

    def __init__(self, store: EpisodeStore, column: str = "pixels") -> None:
        fingerprint = store.fingerprint[:20]
        name = f"{column}-{fingerprint}.npy"
        home = _homes.get(fingerprint) or store.path.with_name(store.path.name + ".cache")
        frames = _open(home / name, store, column)
        if frames is None:
            try:
                _build(home / name, store, column)
            except BadFile as error:
                home = _temporary_home(fingerprint)
                try:
                    _build(home / name, store, column)
                except BadFile:
                    raise error from None
            frames = _open(home / name, store, column)
            if frames is None:
                raise BadFile(f"{home / name} changed while it was being made: run again")
            for stale in home.glob(f"{column}-*.npy"):
                if stale.name != name:
                    stale.unlink(missing_ok=True)
        self.frames: np.ndarray = frames


def _open(path: Path, store: EpisodeStore, column: str) -> np.ndarray | None:
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if (frames.shape, frames.dtype) != store.columns[column]:
        return None
    return np.asarray(frames)  # a plain view: indexing a memmap object is slower


def _build(path: Path, store: EpisodeStore, column: str) -> None:
    shape, dtype = store.columns[column]
    with replacing(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for start in range(0, store.rows, _BLOCK):
            file.write(store.read(column, start, min(start + _BLOCK, store.rows)).tobytes())


def _temporary_home(fingerprint: str) -> Path:
    if fingerprint not in _homes:
        _homes[fingerprint] = Path(tempfile.mkdtemp(prefix="worldmodel-cache-"))
        atexit.register(shutil.rmtree, _homes[fingerprint], ignore_errors=True)
    return _homes[fingerprint]
