from __future__ import annotations

from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.formats import FORMATS, detect
from worldmodel.errors import BadFile


def test_unknown_formats_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("not a dataset")
    (tmp_path / "table.lance").mkdir()
    with h5py.File(tmp_path / "robomimic.h5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((4, 3))
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    for name in ("a.txt", "table.lance", "robomimic.h5", "weights.npz"):
        with pytest.raises(BadFile, match=f"{name} is of none of the formats worldmodel, swm, ogbench, minari"):
            detect(tmp_path / name)
    with pytest.raises(BadFile, match="table.lance .*: swm convert"):
        detect(tmp_path / "table.lance")
    with pytest.raises(BadFile, match="no such file or folder: .*nothing"):
        detect(tmp_path / "nothing")
    assert detect("D4RL/pointmaze/umaze-v2") == "minari"


def test_every_format_has_a_reader_and_a_line() -> None:
    for name, (reader, line) in FORMATS.items():
        module, _, function = reader.partition(":")
        assert callable(getattr(import_module(module), function)), name
        assert line
