"""Reading the HDF5 files of stable-worldmodel and LeWM: flat columns, the rows of all episodes one after another.

Files in the wild differ, and all of these are read:

- ``ep_len`` and ``ep_offset`` are there (stable-worldmodel), or only ``episode_idx`` or ``ep_idx`` on every row, from
  which they are rebuilt.
- The action on an episode's last row is NaN, a real one, or (as version 0.1.1 collects) that of the first step, which
  the reset before it had taken. It leads nowhere in any of them.
- Names with slashes (OGBench's ``privileged/block_0_pos``) are nested groups.
- Columns are compressed by filters that come with ``hdf5plugin``.
- ``goal`` repeats the goal's picture on every row; pictures other than ``pixels`` are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldmodel.datasets.sources import Source, reading
from worldmodel.datasets.store import SPLITS
from worldmodel.errors import BadFile, MissingExtra

ROW_INDEX = ("episode_idx", "ep_idx")
_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # what h5py raises on a damaged file
_CACHE_BYTES = 64 * 2**20


def read_swm(path: Path) -> Source:
    """Read a file of stable-worldmodel's layout.

    Raises:
        BadFile: truncated, foreign, or with columns that do not fit together; the message names the column.
        MissingExtra: a column needs a filter of ``hdf5plugin``, which is not installed.
    """
    try:
        file = h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES)
    except OSError as error:
        raise BadFile(f"{path} is not a whole HDF5 file (truncated, damaged or of another format)") from error
    columns = dict(_walk(path, file))
    for name, column in columns.items():
        _need_filters(path, name, column)
    lengths, offsets = _index(path, columns)
    rows = int((offsets + lengths).max())
    columns = {name: column for name, column in columns.items() if name not in ("ep_len", "ep_offset")}
    for name, column in columns.items():
        if column.shape[:1] != (rows,):
            raise BadFile(f"{path}: column {name!r} has {len(column)} rows, the episodes {rows}")
    wanted = {name: column for name, column in columns.items() if column.ndim < 4 or name == "pixels"}
    attrs = {"render_preset": "official"} if "pixels" in wanted else {}
    return Source(attrs, len(lengths), _episodes(path, file, wanted, lengths, offsets))


def _episodes(
    path: Path, file: h5py.File, columns: dict[str, h5py.Dataset], lengths: np.ndarray, offsets: np.ndarray
) -> Iterator[dict[str, Any]]:
    with file:
        for number, (start, length) in enumerate(zip(offsets.tolist(), lengths.tolist())):
            episode = {}
            for name, column in columns.items():
                with reading(f"{path}: episode {number}: column {name!r}", *_ERRORS):
                    episode[name] = column[start : start + length]
            if "split" in episode and not np.isin(episode["split"], range(len(SPLITS))).all():
                del episode["split"]  # of another meaning
            yield episode


def _walk(path: Path, group: h5py.Group, prefix: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    with reading(f"{path}: the list of columns", *_ERRORS):
        names = list(group)
    for name in names:
        with reading(f"{path}: column {prefix + name!r}", *_ERRORS):
            item = group[name]  # not .items(), which answers None for a damaged one
        if isinstance(item, h5py.Group):
            yield from _walk(path, item, f"{prefix}{name}/")
        elif isinstance(item, h5py.Dataset) and item.ndim:
            yield prefix + name, item


def _need_filters(path: Path, name: str, column: h5py.Dataset) -> None:
    with reading(f"{path}: column {name!r}", *_ERRORS):
        plist = column.id.get_create_plist()
        codes = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if not all(map(h5py.h5z.filter_avail, codes)):
        try:
            import hdf5plugin  # noqa: F401  # makes its filters known
        except ImportError as error:
            raise MissingExtra(f"{path}: the compression of column {name!r}", "hdf5plugin") from error


def _index(path: Path, columns: dict[str, h5py.Dataset]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and first rows of the episodes, (E,) int64 each."""

    def read(name: str) -> np.ndarray:
        with reading(f"{path}: column {name!r}", *_ERRORS):
            values = np.asarray(columns[name][:])
        if values.ndim != 1 or not len(values) or values.dtype.kind not in "iuf":
            raise BadFile(f"{path}: column {name!r} must hold one number each, not {values.dtype} {values.shape}")
        return values.astype(np.int64)

    if "ep_len" in columns:
        lengths = read("ep_len")
        offsets = read("ep_offset") if "ep_offset" in columns else np.cumsum(lengths) - lengths
        if offsets.shape != lengths.shape or lengths.min() < 1 or offsets.min() < 0:
            raise BadFile(f"{path}: columns 'ep_len' and 'ep_offset' do not fit together")
        return lengths, offsets
    name = next((name for name in ROW_INDEX if name in columns), None)
    if name is None:
        raise BadFile(f"{path} is not a stable-worldmodel dataset: it has no column ep_len, {' or '.join(ROW_INDEX)}")
    owner = read(name)
    offsets = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    if len(np.unique(owner[offsets])) != len(offsets):
        raise BadFile(f"{path}: column {name!r} does not keep the rows of an episode together")
    return np.diff(np.append(offsets, len(owner))), offsets
