"""What wm-train makes of a command line."""

from __future__ import annotations

from pathlib import Path

from tests.datasets.episodes import episode
from worldmodel.cli.train_options import parse
from worldmodel.datasets.store import write_store


def test_the_task_decides_whether_windows_are_moved_until_somebody_says(tmp_path: Path) -> None:
    def shift(*arguments: str) -> float:
        return parse(["--preset", "nano", *arguments]).train.shift

    cube = write_store(tmp_path / "a.h5", [episode(0, 30)], {"env": "ogbench/cube-double"})
    assert shift() == shift("--env", "two-room") == 0
    assert shift("--env", "ogbench/cube-single") == shift("--dataset", str(cube)) == 0.05
    assert shift("--env", "ogbench/cube-single", "--train.shift", "0") == 0
    assert shift("--env", "ogbench/cube-single", "--recipe", "lewm") == 0
    assert shift("--env", "two-room", "--train.shift", "0.1") == 0.1
