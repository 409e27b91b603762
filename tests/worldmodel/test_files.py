"""Writing whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel.errors import BadFile, UnknownName
from worldmodel.files import locked, read_json, replacing, write_json


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


@pytest.mark.skipif(os.name != "posix", reason="asks POSIX which processes live")
def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom worldmodel.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.mkdir() if sys.argv[2] else temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    for name, folder in (("file", ""), ("model", "folder"), ("neighbour", "")):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name), folder], check=False, timeout=60)
    assert len(list(tmp_path.glob(".*.tmp"))) == 3
    for name in ("file", "model"):
        with replacing(tmp_path / name) as outer:  # a living process's own is left alone
            outer.write_text("whole")
            write_json(tmp_path / "neigh", 1)
    assert sorted(p.name.split(".")[1] for p in tmp_path.glob(".*")) == ["neighbour"]
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == ["file", "model", "neigh"]


@pytest.mark.skipif(os.name != "posix", reason="asks POSIX which processes live")
def test_a_folder_that_a_killed_process_moved_away_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "good").write_text("good")
    code = (
        "import os, pathlib, sys\nfrom worldmodel.files import replacing\nrename = pathlib.Path.rename\n"
        "pathlib.Path.rename = lambda self, to: (rename(self, to), os.kill(os.getpid(), 9))\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.mkdir()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert not path.exists()
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.mkdir()
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["model"] and [p.name for p in path.iterdir()] == ["good"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_lock_is_held_once_and_released_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with pytest.raises(RuntimeError), locked(path, "busy"):
        with pytest.raises(BadFile, match="^busy$"), locked(path, "busy"):
            pass
        raise RuntimeError
    with locked(path, "busy"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile, match="cannot write"), locked(tmp_path / "file" / "lock", "busy"):
        pass


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
