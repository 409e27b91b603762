"""Writing whole or not at all."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from worldmodel.errors import BadFile, UnknownName
from worldmodel.files import read_json, replacing, write_json


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file.json"
    write_json(path, {"x": 1})
    for failure in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(failure), replacing(path) as temporary:
            temporary.write_text("half")
            raise failure
    assert read_json(path) == {"x": 1}
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for names in (("a", "b"), ("c",)):
        with replacing(path) as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["c"]
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["c"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("good")
    with pytest.raises(BadFile, match="disk full while writing .*file: free some space"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_real_full_device(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(BadFile, match="disk full"), replacing(tmp_path / "x"), open(full, "w") as file:
        file.write("x")
        file.flush()


def test_names_are_suggested() -> None:
    assert "did you mean 'two-room'?" in str(UnknownName("environment", "tworoom", ["pusht", "two-room"]))
    assert "choose from a, b" in str(UnknownName("thing", "zzz", ["b", "a"]))


def test_errors_travel_between_processes() -> None:
    error = UnknownName("environment", "tworoom", ["pusht", "two-room"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_folder_swap_that_fails_half_way_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "good").write_text("good")
    rename = Path.rename

    def fails_into_place(self: Path, target: Path) -> Path:
        if target == path and self.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_into_place)
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["model"] and [p.name for p in path.iterdir()] == ["good"]
