"""The episode store: one HDF5 file of flat columns, in the layout that stable-worldmodel reads and writes.

Every column holds the rows of all episodes one after another; ``ep_len`` and ``ep_offset`` say where each episode lies.
An episode of 200 environment steps has 201 rows: row 0 is what ``reset`` gave.

    pixels        (N, S, S, 3) uint8    the picture at the row
    action        (N, a) float32        taken AT the row, raw environment units; NaN on the last row of an episode
    reward        (N,) float32          received on arriving at the row; NaN on the first row
    terminated, truncated (N,) bool     said on arriving at the row
    state         (N, ...) float64      the environment's full state
    qpos, qvel ...                      of MuJoCo tasks: positions and velocities, as other programs read them
    step_idx, episode_idx (N,) int64
    split int8, seed int64, policy S32  (N,) constant within an episode: repeated on every row, where they compress to
                                        nothing, so that readers which expect row columns only can read the file
    ep_len (E,) int32, ep_offset (E,) int64

Provenance (task, seed, image size, version ...) is in the attributes. Every chunk carries a checksum (Fletcher32), so a
flipped bit is an error when read, not a strange number. Read contiguous rows only: a strided selection on a chunked
column costs 15-40 times as much; stride in numpy. Chunks: `image_chunk` in datasets/writing.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldmodel.datasets.writing import CACHE_BYTES, INDEX, write_store
from worldmodel.errors import BadFile, BadValue, UnknownName

__all__ = ["SPLITS", "EpisodeStore", "split_number", "write_store"]

SPLITS = ("train", "validation", "test")
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # what h5py raises on a damaged file


def split_number(split: int | str) -> int:
    """Return 0, 1 or 2 for a split given by number or by name ("train", "validation", "test")."""
    if isinstance(split, str):
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        return SPLITS.index(split)
    if split not in range(len(SPLITS)):
        raise BadValue(f"split must be 0 (train), 1 (validation) or 2 (test), not {split}")
    return int(split)


class EpisodeStore:
    """A dataset opened for reading; its index is checked when opened (`verify` in datasets/verify.py reads everything).

    Attributes:
        path: the file.
        attrs: provenance, such as ``env``, ``seed``, ``image_size``, ``version``.
        columns: name -> (shape, dtype) of every row column, shape with the rows first.
        lengths: (E,) int64, rows of each episode.
        offsets: (E,) int64, first row of each episode.
        split: (E,) int8, 0 train, 1 validation, 2 test; all train in a file that has no split.

    Raises:
        BadFile: the file is missing, truncated, foreign, or its index is inconsistent; the message names the column.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise BadFile(f"no such dataset: {self.path} (make one with: wm-data collect)")
        try:
            self._file = h5py.File(self.path, "r", rdcc_nbytes=CACHE_BYTES)
        except _HDF5_ERRORS as error:
            raise BadFile(f"{self.path} is not a whole HDF5 file (truncated, damaged or of another format)") from error
        try:
            self._load_index()
        except BaseException:
            self._file.close()
            raise

    def _load_index(self) -> None:
        with self._reading("attributes"):
            self.attrs = {key: _from_attribute(value) for key, value in self._file.attrs.items()}
            names = list(self._file)
        found = {}
        for name in names:
            with self._reading(name):
                item = self._file[name]  # not .items(), which answers None for a damaged one
                if isinstance(item, h5py.Dataset) and item.ndim:
                    found[name] = item
        for name in INDEX:
            if name not in found:
                raise BadFile(f"{self.path} is not an episode dataset: it has no column {name!r}")
        with self._reading("ep_len"):
            self.lengths = found["ep_len"][:].astype(np.int64)
        with self._reading("ep_offset"):
            self.offsets = found["ep_offset"][:].astype(np.int64)
        self._columns = {name: item for name, item in found.items() if name not in INDEX}
        self.columns = {name: (tuple(item.shape), item.dtype) for name, item in self._columns.items()}

        if self.lengths.ndim != 1 or not self.lengths.size or self.lengths.min() < 1:
            raise BadFile(f"{self.path}: column 'ep_len' must hold at least one episode and no empty one")
        self.rows = int(self.lengths.sum())
        if not np.array_equal(self.offsets, np.cumsum(self.lengths) - self.lengths):
            raise BadFile(f"{self.path}: column 'ep_offset' is not the running sum of 'ep_len'")
        for name, (shape, _) in self.columns.items():
            if shape[0] != self.rows:
                raise BadFile(f"{self.path}: column {name!r} has {shape[0]} rows, 'ep_len' adds up to {self.rows}")
        if "split" in self.columns:
            self.split = self.read("split", 0, self.rows)[self.offsets].astype(np.int8)
        else:
            self.split = np.zeros(len(self), np.int8)
        if not np.isin(self.split, range(len(SPLITS))).all():
            raise BadFile(f"{self.path}: column 'split' holds values other than 0, 1 and 2")

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def image_size(self) -> int:
        """Side of the square pictures.

        Raises:
            BadFile: there are none.
        """
        shape, _ = self.columns.get("pixels", ((), None))
        if len(shape) != 4 or shape[1:] != (shape[1], shape[1], 3):
            raise BadFile(f"{self.path} has no column 'pixels' of square colour pictures")
        return int(shape[1])

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def env(self) -> str:
        """Short name of the environment that the episodes come from."""
        if "env" not in self.attrs:
            raise BadFile(f"{self.path} does not say which environment it was collected in (no attribute 'env')")
        return str(self.attrs["env"])

    def episodes(self, split: int | str | None = None) -> np.ndarray:
        """Return the indices (int64) of the episodes of one split, or of all."""
        if split is None:
            return np.arange(len(self))
        return np.flatnonzero(self.split == split_number(split))

    def read(self, column: str, start: int, stop: int) -> np.ndarray:
        """Read the contiguous rows ``start:stop`` of a column.

        Raises:
            UnknownName: no such column.
            BadValue: rows outside the file.
            BadFile: the rows are damaged; the message names column and episode.
        """
        if column not in self.columns:
            raise UnknownName(f"column in {self.path}", column, self.columns)
        if not 0 <= start <= stop <= self.rows:
            raise BadValue(f"{self.path} has rows 0 to {self.rows}, asked for {start} to {stop}")
        with self._reading(column, start):
            rows: np.ndarray = self._columns[column][start:stop]
        return rows

    def read_episode(self, column: str, episode: int) -> np.ndarray:
        """Read all rows of one episode."""
        return self.read(column, int(self.offsets[episode]), int(self.offsets[episode] + self.lengths[episode]))

    def read_chunk(self, column: str, row: int) -> tuple[int, bytes]:
        """Read the chunk of pictures that starts at ``row`` as it lies on disk: (filter mask, compressed bytes).

        Raises:
            BadFile: there is no such chunk; what is in it is not checked.
        """
        with self._reading(column, row):
            mask, content = self._columns[column].id.read_direct_chunk((row, 0, 0, 0))
        return mask, content

    def dataset(self, column: str) -> h5py.Dataset:
        """Return the column's HDF5 dataset itself, for raw access."""
        return self._columns[column]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over index, provenance and a few rows of every column; equal data, equal fingerprint.

        The time of creation is left out, and so is the file's name: a copy has the same fingerprint.
        """
        digest = hashlib.sha256()
        attrs = {key: value for key, value in self.attrs.items() if key != "created"}
        digest.update(json.dumps(attrs, sort_keys=True, default=str).encode())
        for array in (self.lengths, self.offsets, self.split):
            digest.update(array.tobytes())
        sample = np.unique(np.linspace(0, self.rows - 1, 16).astype(np.int64))
        for name, (shape, dtype) in sorted(self.columns.items()):
            digest.update(f"{name} {shape} {dtype}".encode())
            for row in sample:
                digest.update(self.read(name, int(row), int(row) + 1).tobytes())
        return digest.hexdigest()

    @contextmanager
    def _reading(self, column: str, row: int | None = None) -> Iterator[None]:
        try:
            yield
        except _HDF5_ERRORS as error:
            where = ""
            if row is not None:
                where = f" at episode {int(np.searchsorted(self.offsets, row, side='right')) - 1}"
            raise BadFile(f"{self.path}: column {column!r} is damaged{where}") from error


def _from_attribute(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(json.JSONDecodeError):  # text of somebody else's may begin so
            return json.loads(value)
    return value
