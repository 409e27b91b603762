"""A robot in real time, for half a second; what it does step by step, without a clock."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks import episodes, serving, workers
from worldmodel.benchmarks.serving import Robot
from worldmodel.checkpoint import save_model
from worldmodel.envs import registry
from worldmodel.errors import BadValue


class Line(gymnasium.Env):
    """A position that actions add to; 3 is the goal."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.place = options["state"]
        return {"pixels": self.place, "goal": 3}, {"state": self.place}

    def step(self, action):
        self.place += float(action[0])
        return {"pixels": self.place, "goal": 3}, 0.0, False, False, {"success": self.place == 3}


class Pairs(SimpleNamespace):
    def __len__(self):
        return len(self.starts)

    def options(self, i):
        return {"state": self.starts[i]}


def test_a_robot_goes_on_with_its_last_command_and_from_pair_to_pair():
    robot, one = Robot(Line(), Pairs(starts=[0, 10]), 20, budget=5), np.ones(1)
    robot.advance()
    assert robot.seen == (0, 0, 3)  # at rest until it is commanded
    robot.act(one)
    for place in (1, 2):
        robot.advance()
        assert robot.seen == (0, place, 3)
    robot.advance()
    assert robot.seen == (1, 10, 3) and robot.success == [True]
    for _ in range(5):
        robot.advance()
    assert robot.seen == (2, 0, 3) and robot.success == [True, False]
    assert (robot.steps, robot.commanded) == (9, 1)


@pytest.fixture
def run(dataset, tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "run" / "model", tiny_model(), env="two-room", dataset={"path": str(dataset)})
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        common = ("--model", "run", "--episodes", 2, "--offset", 10, "--budget", 4, "--json", "s.json")
        monkeypatch.setattr(sys, "argv", ["serving.py", *map(str, (*common, *arguments))])
        code = 0
        try:
            serving.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_what_is_counted_is_printed_and_written(run):
    code, out, err = run("--minutes", 0.01, "--hz", 40, "--setting", "cem candidates=8 elites=2 iterations=1")
    assert (code, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()[:5]] == ["ticks", "jitter", "plans", "late", "memory"]
    found = json.loads(Path("s.json").read_text())
    assert found["torch"] and 0 < found["ticks"] <= 24 and found["plans"] > 0
    assert found["commanded"] <= found["physics_steps"] and len(found["memory_mib_by_minute"]) == 1
    assert found["n"] == min(found["visits"], 2) and found["physics_steps"] // 4 <= found["visits"]
    assert found["waiting"]["n"] == found["pairs"] == 2 and found["every"] == 3
    assert {"hardware", "versions", "commit", "dataset", "jitter_p99_ms", "late"} <= found.keys()


@pytest.mark.parametrize("does", [episodes.compare, serving.serve, workers.compare])
def test_episodes_are_looked_for_where_they_are_collected(does, tmp_path, monkeypatch):
    """Where neither an option nor the model names them; the name of a task may hold a slash, that of a file cannot."""
    save_model(tmp_path / "run" / "model", tiny_model(), env="two-room")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "file_name", lambda env: f"file-of-{env}")
    with pytest.raises(BadValue, match="--dataset: no such dataset: data/file-of-two-room.h5"):
        does(sys.modules[does.__module__].Options(model="run"))


def test_mistakes_are_one_line(run):
    for arguments, message in [
        (("--minutes", 0), "--minutes: expected a finite number above 0, got 0.0"),
        (("--hz", -1), "--hz: expected a finite number above 0, got -1.0"),
        (("--every", 0), "--every: expected 1 tick or more, got 0"),
        (("--model", "none"), "--model: no such model"),
        (("--setting", "cemm"), "--setting: setting 'cemm': unknown planner 'cemm'"),
    ]:
        code, out, err = run(*arguments)
        assert code == 2 and not out and message in err and err.count("\n") == 1, err
