"""``wm-data``: short aligned tables, one line for a mistake, a help that answers at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.cli import data
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.files import write_json


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
    assert capsys.readouterr().out.startswith(collected.out)
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


def test_info_says_what_is_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.h5"
    wm_data(monkeypatch, "collect", "--env", "two-room", "--episodes", 3, "--steps", 60, "--workers", 1, "--out", path)
    capsys.readouterr()
    assert wm_data(monkeypatch, "info", path) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {cells[0]: cells[1] for cells in (re.split("  +", line, maxsplit=1) for line in lines if line)}
    for name in ("action", "0", "1", "state", "agent_x", "agent_y", "agent_x, agent_y", "evenness"):
        assert name in found, name
    assert "bytes a row" in found["file"]
    assert re.match(r"\d+\.\d % of 108 windows of 25 steps: ", found["still pictures"])
    assert re.match(r"\d+\.\d % of 108 windows of 25 steps: goal behind the wall", found["hard"])
    assert re.match(r"\d+\.\d % of 183 rows", found["out of view"])
    assert max(map(len, lines)) <= 120


def test_info_of_another_programs_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without environment, state or split, and with a column that is no array of numbers."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ep_len"], file["ep_offset"], file["pixels"] = [4], [0], np.zeros((4, 8, 8, 3), np.uint8)
        file["action"], file["text"] = np.full((4, 1), np.nan, np.float32), np.array([b"x"] * 4)
    assert wm_data(monkeypatch, "info", tmp_path / "a.h5") == 0
    out = capsys.readouterr().out
    assert "none of 0 windows" in out and "nan" in out and "state" not in out


def test_list_preview_split_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wm_data(monkeypatch, "list", ".") == 0
    assert capsys.readouterr().out == "no dataset in ./ (make one with: wm-data collect)\n"
    attrs = {"env": "pusht", "render_preset": "fast", "policies": {"weak": 10}}
    for name, first in (("a", 0), ("b", 10)):
        write_store(f"{name}.h5", (episode(first + i, 30, 32, split=i % 3) for i in range(10)), attrs)
    assert wm_data(monkeypatch, "split", "b.h5", "--train", 0.6, "--test", 0.2, "--out", "c.h5") == 0
    assert "8 (6 train, 0 validation, 2 test)" in capsys.readouterr().out
    assert wm_data(monkeypatch, "split", "a.h5", "--only", "test", "--out", "d.h5") == 0
    assert wm_data(monkeypatch, "merge", "a.h5", "c.h5", "--out", "e.h5") == 0
    assert "a.h5 (10 episodes), c.h5 (8 episodes)" in capsys.readouterr().out
    assert wm_data(monkeypatch, "verify", "e.h5") == 0
    assert wm_data(monkeypatch, "preview", "e.h5", "--out", "look.png", "--episodes", 3) == 0
    assert "look.png and look.mp4: episodes 0, 8, 17\n" in capsys.readouterr().out
    with av.open("look.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) == 30
    assert wm_data(monkeypatch, "append", "c.h5", "d.h5") == 0
    assert "c.h5 (8 episodes), d.h5 (3 episodes)" in capsys.readouterr().out
    Path("cut.h5").write_bytes(Path("a.h5").read_bytes()[:3000])
    Path("text.h5").write_text("x" * 3000)
    (tmp_path / "f.h5.parts").mkdir()
    write_json("f.h5.parts/recipe.json", {"env": "pusht"})
    Path("f.h5.parts/part-0000020-0000040.h5").write_bytes(b"")
    assert wm_data(monkeypatch, "list", ".") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["dataset", "a.h5", "b.h5", "c.h5", "d.h5", "e.h5"]
    assert lines[5].split() == ["e.h5", "pusht", "18", "540", "32", "x", "32", lines[5].split()[7], "fast", "weak"]
    assert lines[6] == "" and len(lines) == 10
    assert lines[7].startswith("cut.h5 is not a whole HDF5 file") and lines[8].startswith("text.h5 is not a whole")
    assert lines[9] == "f.h5  unfinished: 20 episodes of pusht; the same wm-data collect command goes on"


def test_damage_at_random_places_is_one_line_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever command reads the file: never a traceback."""
    monkeypatch.chdir(tmp_path)
    attrs = {"env": "two-room", "policies": {"weak": 3}}
    write_store("a.h5", (episode(i, 30, 16) for i in range(3)), attrs)
    write_store("other.h5", (episode(i, 30, 16) for i in range(3, 6)), attrs)
    whole = Path("a.h5").read_bytes()
    commands = (
        "info a.h5",
        "verify a.h5",
        "list .",
        "merge a.h5 other.h5 --out m.h5",
        "split a.h5 --only train --out s.h5",
    )
    rng, mistakes = np.random.default_rng(0), 0
    for position in rng.integers(0, len(whole), 15).tolist():
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        cut = whole[:position]
        for content in (flipped, cut):
            Path("a.h5").write_bytes(content)
            for command in commands:
                code = wm_data(monkeypatch, *command.split())
                error = capsys.readouterr().err
                assert (code, len(error.splitlines())) in ((0, 0), (2, 1)), (position, command, error)
                mistakes += code == 2
                for made in ("m.h5", "s.h5"):
                    Path(made).unlink(missing_ok=True)
    assert mistakes > 40


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("collect --env push", "--env: unknown environment 'push': did you mean 'pusht'?"),
        ("collect --env two-room --variation agent.color", "--variation: unknown factor 'agent.color': did you mean"),
        ("collect --env gym/CartPole-v1 --variation all", "--variation: this environment has no factors of variation"),
        ("collect --episodes 0", "--episodes: expected at least 1, got 0"),
        ("collect --episodes many", "--episodes: "),
        ("colect --env pusht", "unknown command 'colect': did you mean 'collect'"),
        ("collect --image-size 2000000", "--image-size: expected 8 to 4096 pixels, got 2000000"),
        ("collect --workers -2", "--workers: expected 1 or more, or 0 for all cores, got -2"),
        ("collect --worker 2", "--worker"),
        ("info missing.h5", "no such dataset: missing.h5"),
        ("verify cut.h5", "cut.h5 is not a whole HDF5 file"),
        ("verify nan.h5", "nan.h5: episode 0: column 'state' is not finite at step 4"),
        ("convert nan.h5 --out a.h5", "--env: nan.h5 does not say which environment it is of"),
        ("convert nan.h5 --out cut.h5", "cut.h5 is already there"),
        ("convert cut.h5 --out a.h5", "cut.h5 is not a whole HDF5 file"),
        ("convert nan.h5 --out a.h5 --env toy --image-size 2", "--image-size: expected at least 8, got 2"),
        ("look", "look"),
        ("list nowhere", "no such folder: nowhere"),
        ("info cut.h5", "cut.h5 is not a whole HDF5 file"),
        ("preview cut.h5", "cut.h5 is not a whole HDF5 file"),
        ("preview nan.h5 --frames 0", "--frames: expected at least 1, got 0"),
        ("preview nan.h5 --out a.jpg", "--out: expected a name that ends in .png, got a.jpg"),
        ("merge nan.h5 --out b.h5", "merge: expected at least two datasets, got 1"),
        ("merge nan.h5 nan.h5 --out b.h5", "episode 0 of nan.h5 is episode 0 of nan.h5"),
        ("merge nan.h5 cut.h5 --out nan.h5", "nan.h5 is already there"),
        ("split nan.h5 --out b.h5", "--train: give shares"),
        ("split nan.h5 --out b.h5 --train 2", "--train: expected a share from 0 to 1, got 2.0"),
        ("split nan.h5 --out b.h5 --only test", "--only: nan.h5 has no test episode"),
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


def test_info_of_states_that_are_not_the_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three numbers where PushT has ten: coverage is shown, success and view are not."""
    path = write_store(tmp_path / "a.h5", [episode(i, 40) for i in range(3)], {"env": "pusht"})
    assert wm_data(monkeypatch, "info", path) == 0
    shown = capsys.readouterr().out
    assert "still states" in shown and "out of view" not in shown and "\nhard" not in shown


def test_info_measures_hard_windows_by_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.h5"
    options = ("--env", "gym/CartPole-v1", "--episodes", 40, "--image-size", 8, "--workers", 1, "--out", path)
    assert wm_data(monkeypatch, "collect", *options) == 0
    with EpisodeStore(path) as store:
        std = store.read("state", 0, store.rows).std(axis=0)
        ends = [store.read_episode("state", i) for i in range(len(store))]
        far = np.concatenate([(np.abs(e[25:] - e[:-25]) / std).max(axis=1) > 1 for e in ends])
    capsys.readouterr()
    assert wm_data(monkeypatch, "info", path) == 0
    assert f"hard            {100 * far.mean():.1f} % of {len(far)} windows" in capsys.readouterr().out


def test_a_broken_note_of_a_collection_does_not_hide_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(tmp_path / "a.h5", [episode(0, 5)], {"env": "toy"})
    (tmp_path / "b.h5.parts").mkdir()
    (tmp_path / "b.h5.parts" / "recipe.json").write_text("{")
    assert wm_data(monkeypatch, "list", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "a.h5" in shown and "unfinished: 0 episodes of ?" in shown
