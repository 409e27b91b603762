"""Reading OGBench's npz files: ``name.npz`` and, as the validation split, ``name-val.npz`` beside it.

``observations``, ``actions``, ``terminals`` and, where they are, ``qpos``, ``qvel`` and ``button_states`` hold the rows
of all trajectories one after another; ``terminals`` is 1 on the last row of each, whose action leads nowhere. Pictures
are ``observations`` of uint8. The files are read row by row: a visual one is larger unpacked than most memories.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.sources import NPZ_ERRORS, Source, reading
from worldmodel.errors import BadFile

NAMES = {"observations": "observation", "actions": "action"}  # theirs -> ours
NEEDED = ("observations", "actions", "terminals")


def read_ogbench(path: Path) -> Source:
    """Read an OGBench dataset and the validation file beside it, whose episodes are in turn for validation and test.

    Raises:
        BadFile: truncated, damaged or foreign; the message names the column.
    """
    held_out = path.with_name(f"{path.stem}-val.npz")
    files = [path, held_out] if held_out.is_file() else [path]
    lengths = [_lengths(file) for file in files]
    with NpzColumn(path, "observations") as column:
        visual = column.dtype == np.uint8
    with NpzColumn(path, "actions") as column:
        size = column.shape[-1]
    attrs: dict[str, Any] = {
        "action_low": [-1.0] * size,
        "action_high": [1.0] * size,
    }
    if visual:
        attrs["render_preset"] = "official"
    return Source(attrs, sum(map(len, lengths)), _episodes(files, lengths))


def _episodes(files: list[Path], lengths: list[np.ndarray]) -> Iterator[dict[str, Any]]:
    for split, (file, steps) in enumerate(zip(files, lengths)):
        names = [name for name in npz_names(file) if name != "terminals"]
        with ExitStack() as stack:
            columns = {name: stack.enter_context(NpzColumn(file, name)) for name in names}
            for name, column in columns.items():
                if column.shape[:1] != (steps.sum(),):
                    raise BadFile(f"{file}: column {name!r} has {column.shape} values, 'terminals' {steps.sum()} rows")
            for number, length in enumerate(steps.tolist()):
                episode = {NAMES.get(name, name): column.rows(length) for name, column in columns.items()}
                episode["truncated"] = np.arange(length) == length - 1
                if episode["observation"].dtype == np.uint8:
                    episode["pixels"] = episode.pop("observation")
                yield episode | ({"split": split * (1 + number % 2)} if len(files) > 1 else {})
            for column in columns.values():
                column.end()


def _lengths(path: Path) -> np.ndarray:
    """Rows of each trajectory."""
    for name in NEEDED:
        if name not in npz_names(path):
            raise BadFile(f"{path} is not an OGBench dataset: it has no column {name!r}")
    with NpzColumn(path, "terminals") as column:
        terminals = column.rows(column.shape[0]).astype(bool)
        column.end()
    if terminals.ndim != 1 or not len(terminals):
        raise BadFile(f"{path}: column 'terminals' must hold one number a row, not {terminals.shape}")
    ends = np.flatnonzero(terminals) + 1
    if not len(ends) or ends[-1] != len(terminals):
        ends = np.append(ends, len(terminals))  # the last trajectory was cut
    return np.diff(ends, prepend=0)


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in an npz file.

    Raises:
        BadFile: the file is truncated or not an npz file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise BadFile(f"{path} is not a whole npz file (truncated, damaged or of another format)") from error


class NpzColumn:
    """One array of an npz file, read from front to end in bounded memory.

    Attributes:
        shape: of the whole array.
        dtype: of it.

    Raises:
        BadFile: the array is damaged, or holds Python objects; the message names file and array.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._what = f"{path}: column {name!r}"
        with reading(self._what, *NPZ_ERRORS):
            self._archive = zipfile.ZipFile(path)
            self._stream = self._archive.open(f"{name}.npy")
            version = np.lib.format.read_magic(self._stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, column_major, self.dtype = header(self._stream)
        if column_major and len(self.shape) > 1 or self.dtype.hasobject:
            raise BadFile(f"{self._what} must hold numbers row by row, not {self.dtype} column by column")

    def __enter__(self) -> NpzColumn:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()
        self._archive.close()

    def rows(self, count: int) -> np.ndarray:
        """Return the next ``count`` rows."""
        shape = (count, *self.shape[1:])
        size = int(np.prod(shape)) * self.dtype.itemsize
        with reading(self._what, *NPZ_ERRORS):
            return np.frombuffer(self._stream.read(size), self.dtype).reshape(shape)

    def end(self) -> None:
        """Check that nothing follows; the checksum of the whole is compared here."""
        with reading(self._what, *NPZ_ERRORS):
            if self._stream.read(1):
                raise ValueError("it is longer than its header says")
