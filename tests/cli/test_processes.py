"""``torchrun`` with two processes: training that survives a killed one, and evaluation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.test_train import SMALL, data  # noqa: F401  (a fixture)
from worldmodel.cli.processes import _restarts, processes
from worldmodel.errors import BadValue

ROOT = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
PROCESSES = Path("/proc")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [*TORCHRUN, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def workers(parent: int) -> list[int]:
    """Children of a process, as Linux lists them: number, (name), state, parent, ..."""
    stats = [path.read_text().rpartition(")")[2].split() + [path.parent.name] for path in PROCESSES.glob("[0-9]*/stat")]
    return sorted(int(stat[-1]) for stat in stats if int(stat[1]) == parent)


@pytest.mark.slow
@pytest.mark.skipif(not (PROCESSES / "self" / "stat").exists(), reason="finds the processes as Linux lists them")
def test_two_processes_train_and_one_may_be_killed(data: Path, tmp_path: Path) -> None:  # noqa: F811
    line = (SMALL + " --train.batch 12 --steps 60 --train.save-every 1 --resume auto").format(data=data).split()
    train = ["-m", "worldmodel.cli.train", *line, "--out"]
    killed = start(tmp_path, "--max-restarts", "1", *train, "killed")
    state = tmp_path / "killed" / "state" / "state.pt"
    deadline = time.monotonic() + 120
    while killed.poll() is None and not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(workers(killed.pid)[-1], signal.SIGKILL)
    out, err = killed.communicate(timeout=120)
    assert killed.returncode == 0 and "exitcode: -9" in err, err
    assert out.count("next: wm-plan") == 1  # the first process alone speaks

    whole = start(tmp_path, *train, "whole")
    assert whole.wait(timeout=120) == 0
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and {*range(1, 61)} <= {*steps}
    models = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("killed", "whole")]
    for name, expected in models[1].items():
        assert torch.equal(models[0][name], expected), name

    plan = "-m worldmodel.cli.plan --env two-room --model whole --episodes 5 --candidates 8 --elites 2 --iterations 1 "
    plan += f"--offset 10 --split train --no-video --dataset {data} --json"
    shared = start(tmp_path, *plan.split(), "shared.json")
    out, err = shared.communicate(timeout=120)
    assert shared.returncode == 0, err
    alone = subprocess.run([sys.executable, *plan.split(), "alone.json"], cwd=tmp_path, env=ENVIRONMENT, check=True)
    assert alone.returncode == 0 and out.count("success") == 1
    numbers = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("shared", "alone")]
    same = ("success", "random", "noop", "replay", "n", "plans")
    assert [numbers[0][name] for name in same] == [numbers[1][name] for name in same]


@pytest.mark.parametrize(
    ("nodes", "count", "shared", "prefix"),
    [(1, 0, "True", 0), (1, 2, "True", 2), (4, 2, "False", 0), (4, 0, "True", 0)],
)
def test_restarted_processes_meet_apart_from_the_dead(
    nodes: int, count: int, shared: str, prefix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUP_WORLD_SIZE", str(nodes))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(count))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", shared)
    assert _restarts() == prefix
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    if nodes > 1 and shared == "True":
        with pytest.raises(BadValue, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
            _restarts()


def test_without_torchrun_nothing_is_joined() -> None:
    with processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu") and not torch.distributed.is_initialized()
