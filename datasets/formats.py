"""The formats of other people's datasets that can be read, and telling them apart. A new one is a file and a line."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import h5py

from worldmodel.datasets.read_swm import ROW_INDEX
from worldmodel.errors import BadFile

FORMATS: dict[str, tuple[str, str]] = {  # name -> reader, and what it reads
    "worldmodel": ("worldmodel.datasets.read_store:read_store", "our own HDF5 file, for another picture size or split"),
    "swm": ("worldmodel.datasets.read_swm:read_swm", "HDF5 file of stable-worldmodel or LeWM"),
    "ogbench": ("worldmodel.datasets.read_ogbench:read_ogbench", "OGBench's name.npz, and name-val.npz beside it"),
    "minari": ("worldmodel.datasets.read_minari:read_minari", "Minari dataset, by id or by folder"),
    "lerobot": ("worldmodel.datasets.read_lerobot:read_lerobot", "LeRobot folder, version 2.0, 2.1 or 3.0"),
    "npz": ("worldmodel.datasets.read_npz:read_npz", "folder of npz files, one an episode"),
}
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"  # what such files begin with


def detect(path: str | Path) -> str:
    """Tell a dataset's format by what is in it.

    Raises:
        BadFile: there is nothing, it is not whole, or it is of none of `FORMATS`.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "meta" / "info.json").is_file():
            return "lerobot"
        if (path / "metadata.json").is_file() or (path / "data" / "metadata.json").is_file():
            return "minari"
        if any(path.glob("*.npz")):
            return "npz"
    elif path.is_file():
        with open(path, "rb") as file:
            head = file.read(8)
        found = _in_hdf5(path) if head == _HDF5 else _in_npz(path) if head.startswith(_ZIP) else None
        if found:
            return found
    elif re.fullmatch(r"[\w./-]+-v\d+", str(path)):  # a Minari id
        return "minari"
    else:
        raise BadFile(f"no such file or folder: {path}")
    hint = "; stable-worldmodel converts it to hdf5: swm convert" if path.suffix == ".lance" else ""
    raise BadFile(f"{path} is of none of the formats {', '.join(FORMATS)}{hint}")


def _in_hdf5(path: Path) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            if "format" in file.attrs and "version" in file.attrs:
                return "worldmodel"
            return "swm" if any(name in file for name in ("ep_len", *ROW_INDEX)) else None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{path} is not a whole HDF5 file (truncated or damaged)") from error


def _in_npz(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return "ogbench" if {"observations.npy", "terminals.npy"} <= set(archive.namelist()) else None
    except (zipfile.BadZipFile, OSError) as error:
        raise BadFile(f"{path} is not a whole npz file (truncated or damaged)") from error
