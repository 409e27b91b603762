"""The episode store: one HDF5 file of flat columns, in the layout that stable-worldmodel reads and writes.

Every column holds the rows of all episodes one after another; ``ep_len`` and ``ep_offset`` say where each episode lies.
An episode of 200 environment steps has 201 rows: row 0 is what ``reset`` gave.

    pixels        (N, S, S, 3) uint8    the picture at the row
    action        (N, a) float32        taken AT the row, raw environment units; NaN on the last row of an episode
    reward        (N,) float32          received on arriving at the row; NaN on the first row
    terminated, truncated (N,) bool     said on arriving at the row
    state         (N, ...) float64      the environment's full state
    step_idx, episode_idx (N,) int64
    split int8, seed int64, policy S32  (N,) constant within an episode: repeated on every row, where they compress to
                                        nothing, so that readers which expect row columns only can read the file
    ep_len (E,) int32, ep_offset (E,) int64

Provenance (task, seed, image size, version ...) is in the attributes. Every chunk carries a checksum (Fletcher32), so a
flipped bit is an error when read, not a strange number. Read contiguous rows only: a strided selection on a chunked
column costs 15-40 times as much; stride in numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import worldmodel
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.files import replacing

SPLITS = ("train", "validation", "test")
IMAGE_CHUNK, CHUNK = 20, 1024  # rows in one chunk of a picture column, of any other column
_INDEX = ("ep_len", "ep_offset")
_DTYPES: dict[str, Any] = {
    "pixels": "u1", "action": "f4", "reward": "f4", "terminated": "?", "truncated": "?", "state": "f8",
    "step_idx": "i8", "episode_idx": "i8", "split": "i1", "seed": "i8", "policy": h5py.string_dtype("utf-8", 32),
}  # fmt: skip
_CACHE_BYTES = 16 * 2**20  # holds one chunk of 224 px pictures, which HDF5's default does not
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
            self._file = h5py.File(self.path, "r", rdcc_nbytes=_CACHE_BYTES)
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
        for name in _INDEX:
            if name not in found:
                raise BadFile(f"{self.path} is not an episode dataset: it has no column {name!r}")
        with self._reading("ep_len"):
            self.lengths = found["ep_len"][:].astype(np.int64)
        with self._reading("ep_offset"):
            self.offsets = found["ep_offset"][:].astype(np.int64)
        self._columns = {name: item for name, item in found.items() if name not in _INDEX}
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


class StoreWriter:
    """Writes a store episode by episode, in bounded memory. `write_store` is the usual way in.

    Args:
        path: file to create; not atomic by itself.
        attrs: provenance; text, numbers, and lists or dicts of them.
    """

    def __init__(self, path: str | Path, attrs: Mapping[str, Any]) -> None:
        # Format 1.10 checksums the file's own structures too, and lets readers open the file in SWMR mode.
        self._file = h5py.File(path, "w", libver=("v110", "v110"), rdcc_nbytes=_CACHE_BYTES)
        created = datetime.now(UTC).isoformat("T", "seconds")
        self.describe({"format": 1, "version": worldmodel.__version__, "created": created, **attrs})
        self._lengths: list[int] = []
        self._rows = 0

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Add provenance: text, numbers, and lists or dicts of them."""
        for key, value in attrs.items():
            if not isinstance(value, (int, float)):
                text = (value if isinstance(value, str) else json.dumps(value)).encode()
                value = np.asarray(text, h5py.string_dtype("utf-8", max(len(text), 1)))  # fixed length: checksummed
            self._file.attrs[key] = value

    def append(self, episode: Mapping[str, Any]) -> None:
        """Append one episode: column -> (rows, ...) array, or one value that holds for every row (split, seed, policy).

        Raises:
            BadValue: no rows, or columns of different lengths or names than before; the message names the column.
        """
        number = len(self._lengths)
        arrays = {name: np.asarray(value) for name, value in episode.items()}
        length = max((len(array) for array in arrays.values() if array.ndim), default=0)
        if length < 1:
            raise BadValue(f"episode {number} is empty")
        for name, array in arrays.items():
            if array.ndim and len(array) != length:
                raise BadValue(f"episode {number}: column {name!r} has {len(array)} rows, the others {length}")
        self._write({**arrays, "step_idx": np.arange(length), "episode_idx": np.asarray(number)}, length)
        self._lengths.append(length)

    def extend(self, part: EpisodeStore, split: np.ndarray) -> None:
        """Append all episodes of another store under a new split ((E,) of the part). Whole chunks are not recompressed.

        Pictures are copied as they lie on disk when they start on a chunk border here, as they do while every part
        before had a whole number of chunks.
        """
        base, rows = self._rows, part.rows
        pictures = [name for name, (shape, _) in part.columns.items() if len(shape) == 4]
        as_they_lie = [name for name in pictures if base % IMAGE_CHUNK == 0]
        arrays = {name: part.read(name, 0, rows) for name in part.columns if name not in as_they_lie}
        arrays["episode_idx"] = np.repeat(len(self._lengths) + np.arange(len(part)), part.lengths)
        arrays["split"] = np.repeat(split, part.lengths)
        for name in as_they_lie:
            shape, dtype = part.columns[name]
            source, target = part.dataset(name), self._grow(name, shape[1:], dtype, rows)
            for row in range(0, rows, IMAGE_CHUNK):
                mask, chunk = source.id.read_direct_chunk((row, 0, 0, 0))
                target.id.write_direct_chunk((base + row, 0, 0, 0), chunk, mask)
        self._write(arrays, rows, already=as_they_lie)
        self._lengths.extend(int(length) for length in part.lengths)

    def _write(self, arrays: Mapping[str, np.ndarray], rows: int, already: Iterable[str] = ()) -> None:
        names = {*arrays, *already}
        if self._lengths and names != set(self._file):
            raise BadValue(f"episode {len(self._lengths)} has columns {sorted(names)}, before: {sorted(self._file)}")
        for name, array in arrays.items():
            column = self._grow(name, array.shape[1:], array.dtype, rows)
            if array.ndim and column.shape[1:] != array.shape[1:]:
                raise BadValue(
                    f"episode {len(self._lengths)}: column {name!r} has rows of shape {array.shape[1:]}, "
                    f"before: {column.shape[1:]}"
                )
            column[self._rows : self._rows + rows] = array.astype(column.dtype)
        self._rows += rows

    def _grow(self, name: str, row_shape: tuple[int, ...], dtype: Any, rows: int) -> h5py.Dataset:
        if name not in self._file:
            self._create(name, row_shape, _DTYPES.get(name, dtype), IMAGE_CHUNK if len(row_shape) == 3 else CHUNK)
        column = self._file[name]
        column.resize(self._rows + rows, axis=0)
        return column

    def _create(self, name: str, row_shape: tuple[int, ...], dtype: Any, chunk: int) -> h5py.Dataset:
        return self._file.create_dataset(
            name, (0, *row_shape), dtype, maxshape=(None, *row_shape), chunks=(chunk, *row_shape),
            compression="gzip", compression_opts=4, shuffle=np.dtype(dtype).itemsize > 1, fletcher32=True,
        )  # fmt: skip

    def _finish(self) -> None:
        if not self._lengths:
            raise BadValue("a dataset needs at least one episode")
        lengths = np.asarray(self._lengths)
        for name, values, dtype in (("ep_len", lengths, "i4"), ("ep_offset", np.cumsum(lengths) - lengths, "i8")):
            column = self._create(name, (), dtype, CHUNK)
            column.resize(len(lengths), axis=0)
            column[:] = values


def write_store(path: str | Path, episodes: Iterable[Mapping[str, Any]], attrs: Mapping[str, Any]) -> Path:
    """Write episodes (see `StoreWriter.append`) to a new store at ``path``, whole or not at all.

    Raises:
        BadValue: there are no episodes, or one is empty or of another shape; the message names episode and column.
        BadFile: the disk is full or the folder is not writable.
    """
    with replacing(path) as temporary, StoreWriter(temporary, attrs) as writer:
        for episode in episodes:
            writer.append(episode)
    return Path(path)


def _from_attribute(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value
