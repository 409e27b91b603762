"""Writing a dataset in the layout of datasets/store.py, episode by episode or from finished parts."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

import worldmodel
from worldmodel.errors import BadValue
from worldmodel.files import replacing

if TYPE_CHECKING:
    from worldmodel.datasets.store import EpisodeStore

IMAGE_CHUNK, CHUNK = 20, 1024  # rows in one chunk: of small pictures (`image_chunk`), of any other column
INDEX = ("ep_len", "ep_offset")
_DTYPES: dict[str, Any] = {
    "pixels": "u1", "action": "f4", "reward": "f4", "terminated": "?", "truncated": "?", "state": "f8",
    "step_idx": "i8", "episode_idx": "i8", "split": "i1", "seed": "i8", "policy": h5py.string_dtype("utf-8", 32),
}  # fmt: skip
CACHE_BYTES = 16 * 2**20  # holds a chunk of 20 pictures of 224 px, should there be one; HDF5's default does not
_BLOCK_BYTES = 2**25  # of pictures held in memory while copying


def image_chunk(row_shape: tuple[int, ...]) -> int:
    """Return how many rows make one chunk of a picture column: at most 20 and 256 KiB, a divisor of 20.

    20 episodes of any one length then fill whole chunks. Small pictures are read through a decoded cache and compress
    better together (64 px PushT: 280 bytes a picture in chunks of 20, 590 alone). Large ones are read singly and hardly
    do (224 px: 2100 and 2210 bytes), but a window of four costs 9 ms from chunks of 20 and 1.1 ms from chunks of 1.
    Single pictures are also compressed less hard: 3030 bytes and 0.5 ms a window.
    """
    return max((rows for rows in (20, 10, 5, 4, 2) if rows * math.prod(row_shape) <= 2**18), default=1)


def row_blocks(rows: int, row_shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) that cover ``rows`` pictures in blocks of whole chunks, about 32 MiB each."""
    step = max(1, _BLOCK_BYTES // (IMAGE_CHUNK * math.prod(row_shape))) * IMAGE_CHUNK
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


class StoreWriter:
    """Writes a store episode by episode, in bounded memory. `write_store` is the usual way in.

    Args:
        path: file to create; not atomic by itself.
        attrs: provenance; text, numbers, and lists or dicts of them.
    """

    def __init__(self, path: str | Path, attrs: Mapping[str, Any]) -> None:
        self._sink = _Sink(path)
        # Format 1.10 checksums the file's own structures too, and lets readers open the file in SWMR mode.
        self._file = h5py.File(self._sink, "w", libver=("v110", "v110"), rdcc_nbytes=CACHE_BYTES)
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
            self._sink.close()
        if kind is None:
            self._sink.check()

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

    def extend(
        self,
        part: EpisodeStore,
        split: np.ndarray,
        episodes: slice = slice(None),
        progress: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Append episodes of another store under a new split, (E,) of those taken.

        Pictures are copied as they lie on disk, without being compressed again, where both files have the same layout
        and the rows start on a chunk border in both, as they do while everything before had whole chunks.

        Args:
            part: a store with the same columns.
            split: 0, 1 or 2 for each episode.
            episodes: a run of the part's episodes; all by default.
            progress: called now and then with how many rows of pictures this file has by then.

        Raises:
            BadFile: the part is damaged; the message names column and episode.
        """
        lengths = part.lengths[episodes]
        first = int(part.offsets[episodes][0])
        rows = int(lengths.sum())
        pictures = [name for name, (shape, _) in part.columns.items() if len(shape) == 4]
        arrays = {name: part.read(name, first, first + rows) for name in part.columns if name not in pictures}
        arrays["episode_idx"] = np.repeat(len(self._lengths) + np.arange(len(lengths)), lengths)
        arrays["split"] = np.repeat(split, lengths)
        for name in pictures:
            shape, dtype = part.columns[name]
            target = self._grow(name, shape[1:], dtype, rows)
            for copied in self._copy(part, name, first, rows, target):
                if name == pictures[0]:
                    progress(self._rows + copied)
        self._write(arrays, rows, already=pictures)
        self._lengths.extend(int(length) for length in lengths)

    def _copy(self, part: EpisodeStore, name: str, first: int, rows: int, target: h5py.Dataset) -> Iterator[int]:
        """Copy rows and yield, again and again, how many are done."""
        chunk = target.chunks[0]
        if _layout(part.dataset(name)) == _layout(target) and first % chunk == self._rows % chunk == 0:
            for row in range(0, rows, chunk):
                mask, content = part.read_chunk(name, first + row)
                target.id.write_direct_chunk((self._rows + row, 0, 0, 0), content, mask)
                yield min(row + chunk, rows)
        else:
            for start, stop in row_blocks(rows, target.shape[1:]):
                target[self._rows + start : self._rows + stop] = part.read(name, first + start, first + stop)
                yield stop

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
        self._sink.check()
        self._rows += rows

    def _grow(self, name: str, row_shape: tuple[int, ...], dtype: Any, rows: int) -> h5py.Dataset:
        if name not in self._file:
            self._create(
                name, row_shape, _DTYPES.get(name, dtype), image_chunk(row_shape) if len(row_shape) == 3 else CHUNK
            )
        column = self._file[name]
        column.resize(self._rows + rows, axis=0)
        return column

    def _create(self, name: str, row_shape: tuple[int, ...], dtype: Any, chunk: int) -> h5py.Dataset:
        return self._file.create_dataset(
            name, (0, *row_shape), dtype, maxshape=(None, *row_shape), chunks=(chunk, *row_shape),
            compression="gzip", compression_opts=1 if chunk == 1 else 4,
            shuffle=np.dtype(dtype).itemsize > 1, fletcher32=True,
        )  # fmt: skip

    def _finish(self) -> None:
        if not self._lengths:
            raise BadValue("a dataset needs at least one episode")
        lengths = np.asarray(self._lengths)
        for name, values, dtype in (("ep_len", lengths, "i4"), ("ep_offset", np.cumsum(lengths) - lengths, "i8")):
            column = self._create(name, (), dtype, CHUNK)
            column.resize(len(lengths), axis=0)
            column[:] = values


def _layout(column: h5py.Dataset) -> tuple[Any, ...]:
    """What must be equal for a chunk of one column to be a chunk of another."""
    made = column.id.get_create_plist()
    return column.shape[1:], column.dtype, column.chunks, [made.get_filter(i) for i in range(made.get_nfilters())]


class _Sink(io.FileIO):
    """The file under a `StoreWriter`; a failed write (full disk) is kept for `check` instead of being raised.

    HDF5 cannot end in good order once a write has failed: it prints a traceback for every object left, or crashes.
    """

    _write = io.FileIO.write

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        size = len(data)
        try:
            while len(data):
                data = data[self._write(data) :]
        except OSError as error:
            self._error = self._error or error
        return size

    def check(self) -> None:
        if self._error:
            raise self._error


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
