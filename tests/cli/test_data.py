"""``wm-data``: short aligned tables, one line for a mistake, a help that answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datasets.episodes import episode
from worldmodel.cli import data
from worldmodel.datasets.store import write_store


def wm_data(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["wm-data", *map(str, arguments)])
    try:
        data.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_collect_info_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.h5"
    options = ("--env", "two-room", "--episodes", 3, "--steps", 12, "--workers", 1, "--out", path)
    assert wm_data(monkeypatch, "collect", *options) == 0
    collected = capsys.readouterr()
    assert "  3 (1 train, 1 validation, 1 test)\n" in collected.out and collected.err == ""
    assert wm_data(monkeypatch, "info", path) == 0
    assert capsys.readouterr().out.startswith(collected.out)  # and then coverage
    assert wm_data(monkeypatch, "verify", path) == 0
    assert f"{path} is sound: 3 episodes, 39 rows" in capsys.readouterr().out
    assert wm_data(monkeypatch, "collect", *options) == 0
    assert capsys.readouterr().out == f"{path} is already there\n{collected.out}"


def test_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_store(tmp_path / "a.h5", [episode(i, 12) for i in range(3)], {})
    options = ("--out", tmp_path / "b.h5", "--env", "toy", "--image-size", 16)
    assert wm_data(monkeypatch, "convert", tmp_path / "a.h5", *options) == 0
    printed = capsys.readouterr()
    assert "source_format  worldmodel" in printed.out and "16 16 3" in printed.out and printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("collect --env push", "--env: unknown environment 'push': did you mean 'pusht'?"),
        ("collect --episodes 0", "--episodes: expected at least 1, got 0"),
        ("collect --episodes many", "episodes"),
        ("collect --worker 2", "--worker"),
        ("info missing.h5", "no such dataset: missing.h5"),
        ("verify cut.h5", "cut.h5 is not a whole HDF5 file"),
        ("verify nan.h5", "nan.h5: episode 0: column 'state' is not finite at step 4"),
        ("convert nan.h5 --out a.h5", "--env: nan.h5 does not say which environment it is of"),
        ("convert nan.h5 --out cut.h5", "cut.h5 is already there"),
        ("convert cut.h5 --out a.h5", "cut.h5 is not a whole HDF5 file"),
        ("convert nan.h5 --out a.h5 --env toy --image-size 2", "--image-size: expected at least 8, got 2"),
        ("look", "look"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = episode(0, 12)
    broken["state"][4, 1] = float("nan")
    write_store("nan.h5", [broken], {})
    Path("cut.h5").write_bytes(Path("nan.h5").read_bytes()[:3000])
    assert wm_data(monkeypatch, *arguments.split()) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1 and printed.err.startswith("wm-data: ") and says in printed.err
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cut.h5", "nan.h5"]


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['wm-data', '--help']\nfrom worldmodel.cli.data import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'gymnasium', 'h5py', 'numpy') if name in sys.modules])"
    )
    times = []
    for _ in range(3):
        before = os.times()
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        after = os.times()  # of the processor: a busy machine is not a slow command
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert "collect" in shown and shown.splitlines()[-1] == "[]"
    assert min(times) < 0.5
