"""Decoded frames, kept beside the dataset as one memory-mapped array, so that a batch is a gather and nothing else."""

from __future__ import annotations

import atexit
import io
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import row_blocks
from worldmodel.errors import BadFile
from worldmodel.files import replacing

SHARE = 0.5  # of the memory, and of the free disk, that a decoded column may take
_homes: dict[str, Path] = {}  # temporary caches of this process, by fingerprint


class FrameCache:
    """All rows of one column of a store, decoded once: 100,000 frames of 64 px take 1.2 GB of disk, and page cache.

    The array lies in ``<file>.cache/`` and its name carries the store's fingerprint, so that a dataset made anew gets a
    new cache and the old one is removed; of one that has grown (datasets/append.py) only the new rows are decoded.
    Where that folder cannot be written, a temporary one serves until the process ends.

    Args:
        store: the dataset.
        column: a picture column.
        progress: called with (rows decoded, rows) while the cache is being made.

    Attributes:
        frames: (N, ...) read-only array.
    """

    def __init__(
        self, store: EpisodeStore, column: str = "pixels", progress: Callable[[int, int], None] | None = None
    ) -> None:
        fingerprint = store.fingerprint[:20]
        name, kind = _name(column, fingerprint), store.columns[column]
        home = _homes.get(fingerprint) or _home(store)
        frames = _open(home / name, *kind)
        if frames is None:
            try:
                _build(home / name, store, column, progress)
            except BadFile as error:
                home = _temporary_home(fingerprint)
                try:
                    _build(home / name, store, column, progress)
                except BadFile:
                    raise error from None
            frames = _open(home / name, *kind)
            if frames is None:
                raise BadFile(f"{home / name} changed while it was being made: run again")
            if _is_newest(store):  # else another process may already have decoded what the dataset is now
                for stale in home.glob(f"{column}-*.npy"):
                    if stale.name != name:
                        stale.unlink(missing_ok=True)
        self.frames: np.ndarray = frames

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Rows in any order, repeated or not: (B, T) -> (B, T, ...)."""
        return np.take(self.frames, rows, axis=0)


def fits(store: EpisodeStore, column: str) -> bool:
    """Whether the decoded column would take at most half of the memory and half of the free disk beside the dataset.

    A memory-mapped array that the page cache cannot hold beside a training is slower than reading the compressed file.
    What is already in the dataset's cache folder counts as free.
    """
    shape, dtype = store.columns[column]
    decoded = math.prod(shape) * dtype.itemsize
    taken = sum(file.stat().st_size for file in _home(store).glob("*.npy"))
    return decoded <= SHARE * min(memory(), shutil.disk_usage(store.path.parent).free + taken)


def memory() -> float:
    """Bytes of memory this process may use: of the machine or, where that is less, of its control group."""
    known = [math.inf]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    group = Path("/sys/fs/cgroup/memory.max")  # of Linux, version 2; "max" where there is no limit
    if group.is_file() and (limit := group.read_text().strip()).isdigit():
        known.append(int(limit))
    return min(known)


def _is_newest(store: EpisodeStore) -> bool:
    """Whether the dataset was not replaced since it was opened."""
    with EpisodeStore(store.path) as now:
        return now.fingerprint == store.fingerprint


def _home(store: EpisodeStore) -> Path:
    return store.path.with_name(store.path.name + ".cache")


def _name(column: str, fingerprint: str) -> str:
    return f"{column}-{fingerprint[:20]}.npy"


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray | None:
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if (frames.shape, frames.dtype) != (shape, dtype):
        return None
    return np.asarray(frames)  # a plain view: indexing a memmap object is slower


def _build(path: Path, store: EpisodeStore, column: str, progress: Callable[[int, int], None] | None) -> None:
    shape, dtype = store.columns[column]
    if _grow(path, store, column) or _open(path, shape, dtype) is not None:
        return
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(_header(shape, dtype))
        for start, stop in row_blocks(store.rows, shape[1:]):
            file.write(store.read(column, start, stop).data)
            if progress:
                progress(stop, store.rows)


def _grow(path: Path, store: EpisodeStore, column: str) -> bool:
    """Turn the cache of what the dataset was before it grew into its own, in place; say whether there was one.

    The new rows come after the old ones, where nobody looks before the name and the header have changed. Killed between
    these two, it leaves a file whose header does not fit its name, which is made anew.
    """
    shape, dtype = store.columns[column]
    header = _header(shape, dtype)
    for before in reversed(store.attrs.get("grown_from", [])):
        old, known = path.with_name(_name(column, before["fingerprint"])), (before["rows"], *shape[1:])
        if _open(old, known, dtype) is None or len(_header(known, dtype)) != len(header):
            continue
        try:
            with open(old, "r+b") as file:
                file.seek(len(header) + math.prod(known) * dtype.itemsize)
                for start, stop in row_blocks(store.rows - known[0], shape[1:]):
                    file.write(store.read(column, known[0] + start, known[0] + stop).data)
                os.fsync(file.fileno())
            os.replace(old, path)
            with open(path, "r+b") as file:
                file.write(header)
        except OSError:  # a full disk, or another process was faster: what follows says so, or does not mind
            return False
        return True
    return False


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a .npy file begins with; numpy leaves room in it, so that it stays as long when the rows become more."""
    text = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(text, described)
    return text.getvalue()


def _temporary_home(fingerprint: str) -> Path:
    if fingerprint not in _homes:
        _homes[fingerprint] = Path(tempfile.mkdtemp(prefix="worldmodel-cache-"))
        atexit.register(shutil.rmtree, _homes[fingerprint], ignore_errors=True)
    return _homes[fingerprint]
