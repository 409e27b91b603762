"""What the documentation shows runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TASKS, DATA = ROOT / "docs" / "tasks.md", ROOT / "docs" / "data.md"
SMALL = {  # what makes the commands quick
    "wm-train": "--episodes 12 --steps 2 --train.batch 4 --model.image-size 32 --model.encoder.patch 8 --device cpu",
    "wm-plan": "--episodes 2 --candidates 8 --elites 2 --iterations 1 --offset 10 --split train --no-video",
}

if not TASKS.exists():
    pytest.skip("docs/ is in the checkout only, and this run has the tests alone", allow_module_level=True)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def run(lines: str, folder: Path) -> str:
    """Run commands as they are shown, made quick; return what the last one printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for line in lines.splitlines():
        name, *options = line.split("#")[0].split()
        options += SMALL.get(name, "").split()
        command = [sys.executable, "-m", f"worldmodel.cli.{name.removeprefix('wm-')}", *options]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour_runs() -> None:
    names: dict[str, object] = {}
    exec(blocks(TASKS, "python")[0], names)
    assert names["obs"].keys() == {"pixels", "goal"}  # type: ignore[attr-defined]


def test_your_own_environment_in_30_lines(tmp_path: Path) -> None:
    source = blocks(TASKS, "python")[1]
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    (tmp_path / "reach.py").write_text(source)
    printed = run(blocks(TASKS, "sh")[0], tmp_path)
    assert "action replay" in printed and "100.0 %" in printed


def test_your_own_robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "episodes").mkdir()
    exec(blocks(DATA, "python")[0], {})
    printed = run(blocks(DATA, "sh")[1].replace("--env robot", "--env robot --image-size 32"), tmp_path)
    assert printed.splitlines()[-1] == "next: worldmodel.load('runs/robot').agent() plans from pictures of robot"


def test_every_data_command_runs(tmp_path: Path) -> None:
    lines = re.sub(r"--episodes \d+", "--episodes 4 --steps 12 --image-size 32", blocks(DATA, "sh")[0])
    run(lines, tmp_path)
    made = {path.name for path in (tmp_path / "data").iterdir()}
    assert {"pusht.h5", "pusht.png", "pusht.mp4", "more.h5", "both.h5", "again.h5"} <= made


def test_every_factor_is_listed() -> None:
    from worldmodel.envs import registry
    from worldmodel.envs.mujoco_factors import FACTORS

    for name in registry.TASKS:
        (row,) = (line for line in DATA.read_text().splitlines() if line.startswith(f"| `{name}` |"))
        assert re.findall(r"`([\w.]+\.\w+)`", row) == list(registry.make(name).unwrapped.factors)
    (row,) = (line for line in DATA.read_text().splitlines() if line.startswith("| `dmc/...`"))
    assert re.findall(r"`(\w+\.\w+)`", row) == list(FACTORS)
