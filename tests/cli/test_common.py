from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import tyro

from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.files import write_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """Some options."""

    env: str = "pusht"
    execute_steps: int = 5
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/wm-plan"])


def fails(capsys, action, code=2) -> str:
    with pytest.raises(SystemExit) as stop:
        common.run(action)
    assert stop.value.code == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("wm-plan: ")
    return err


def raising(error):
    def action():
        raise error

    return action


def test_mistakes_are_one_line(capsys):
    assert fails(capsys, raising(BadFile("gone:\n  missing"))) == "wm-plan: gone: missing\n"


def test_ctrl_c(capsys):
    assert "interrupted; nothing is lost" in fails(capsys, raising(KeyboardInterrupt()), 130)


def test_full_disk_names_the_file(capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "runs/x.json")
    assert "disk full while writing runs/x.json" in fails(capsys, raising(full))


def test_a_file_that_cannot_be_used_is_named(capsys, tmp_path):
    assert "x/y: No such file" in fails(capsys, (tmp_path / "x" / "y").read_text)


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        common.run(lambda: 1 / 0)
    with pytest.raises(OSError, match="odd"):
        common.run(raising(OSError(errno.EIO, "odd")))


def test_closed_pipe_is_quiet(tmp_path):
    import subprocess

    code = "import sys; from worldmodel.cli.common import run; run(lambda: [print('y' * 999) for _ in range(9999)])"
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(20) == 141


@pytest.mark.parametrize("started_as", ["/usr/bin/wm-plan", "worldmodel/cli/plan.py", "wm-plan.exe"])
def test_program_name(monkeypatch, started_as):
    monkeypatch.setattr(sys, "argv", [started_as])
    assert common.program() == "wm-plan"


def test_parse():
    given = common.parse(Options, ["--env", "two-room", "--execute-steps", "2", "--quiet"])
    assert given == Options(env="two-room", execute_steps=2, quiet=True)
    assert common.parse(Options, [], default=Options(env="other")).env == "other"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--execute-step", "2"], "did you mean --execute-steps?"),
        (["--execute-steps", "two"], "--execute-steps"),
        (["--execute-steps"], "--execute-steps"),
        (["--nothing-like-it"], "--nothing-like-it"),
        (["stray"], "stray"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, says):
    assert says in fails(capsys, lambda: common.parse(Options, arguments))


def test_help_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        common.run(lambda: common.parse(Options, ["--help"]))
    assert stop.value.code == 0
    assert "--execute-steps" in capsys.readouterr().out


def test_subcommands(monkeypatch, capsys):
    def show(name: str = "x") -> None:
        """Show."""
        sys.stderr.write(f"shown {name}\n")

    def other() -> None:
        """Do something else."""

    commands = {"show": show, "other": other}
    monkeypatch.setattr(sys, "argv", ["wm-plan", "show", "--name", "y"])
    common.subcommands(commands, "Commands.")
    assert capsys.readouterr().err == "shown y\n"
    monkeypatch.setattr(sys, "argv", ["wm-plan", "show", "--nam", "y"])
    assert "--name" in fails(capsys, lambda: common.subcommands(commands, "Commands."))


def test_mistakes_get_their_option():
    with pytest.raises(BadValue, match="^--env: unknown thing"), common.option("--env"):
        raise UnknownName("thing", "x", ["y"])
    with pytest.raises(BadValue, match="^--init-std: too small"), common.option("--x"), common.options_as_fields():
        raise BadValue("init_std: too small")
    with pytest.raises(BadValue, match="^no field here: x"), common.options_as_fields():
        raise BadValue("no field here: x")


def test_device():
    import torch

    assert common.device("cpu") == torch.device("cpu")
    assert isinstance(common.device("auto"), torch.device)
    with pytest.raises(UnknownName, match="--device.*did you mean 'cuda'"):
        common.device("cudda")
    with pytest.raises(UnknownName, match="--device"):
        common.device("cuda:x")
    absent = "mps" if not torch.backends.mps.is_available() else "xpu"
    with pytest.raises(BadValue, match=f"--device: {absent} is not available here"):
        common.device(absent)
    assert common.auto_preset() == ("small" if torch.accelerator.is_available() else "nano")


def test_aligned():
    assert common.aligned([("a", 1), ("long", "x", "y"), ("b",)]) == "a     1\nlong  x  y\nb"
    assert common.aligned([]) == ""


def test_short_name():
    assert common.short_name("worldmodel/PushT-v0") == common.short_name("pusht") == "pusht"
    with pytest.raises(UnknownName, match="pusht"):
        common.short_name("push")


def test_newest_run(tmp_path):
    with pytest.raises(BadFile, match="wm-train --env two-room"):
        common.newest_run("two-room", tmp_path)
    now = time.time()
    for age, (run, env) in enumerate([("b", "two-room"), ("a", "pusht"), ("c", "two-room")]):
        config = tmp_path / run / "model" / "config.json"
        write_json(config, {"env": env})
        os.utime(config, (now - age, now - age))
    (tmp_path / "broken" / "model").mkdir(parents=True)
    (tmp_path / "broken" / "model" / "config.json").write_text("{")
    (tmp_path / "training").mkdir()
    assert common.newest_run("two-room", tmp_path) == tmp_path / "b"
    assert common.newest_run("pusht", tmp_path) == tmp_path / "a"
    assert common.newest_run(None, tmp_path) == tmp_path / "b"
    with pytest.raises(BadFile, match="no trained run of reacher"):
        common.newest_run("reacher", tmp_path)
