"""What the documentation shows runs as it stands."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TASKS, DATA, TRAINING, EXPORT, PLANNING, RL, EVALUATION = (
    ROOT / "docs" / f"{name}.md" for name in ("tasks", "data", "training", "export", "planning", "rl", "evaluation")
)
SMALL = {  # what makes the commands quick
    "wm-train": "--episodes 12 --steps 2 --train.batch 4 --model.image-size 32 --model.encoder.patch 8 --device cpu",
    "wm-plan": "--episodes 2 --candidates 8 --elites 2 --iterations 1 --offset 10 --split train --no-video",
}

if not TASKS.exists():
    pytest.skip("docs/ is in the checkout only, and this run has the tests alone", allow_module_level=True)


def blocks(page: Path, language: str, section: str = "") -> list[str]:
    text = page.read_text()
    if section:
        (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run(lines: str, folder: Path) -> str:
    """Run commands as they are shown, made quick; return what the last one printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for line in lines.splitlines():
        name, *options = line.split("#")[0].split()
        small = SMALL.get(name, "")
        if "reflex" in options:  # which searches nothing
            small = small.replace("--candidates 8 --elites 2 --iterations 1 ", "")
        options += small.split()
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


@pytest.mark.slow
def test_the_numpy_planner_chooses_the_plan_that_torch_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond max_prefix (4) too, and from fewer frames than the context."""
    import torch

    from tests.worldmodel.tiny import tiny_model
    from worldmodel.checkpoint import save_model
    from worldmodel.cli import model as wm_model
    from worldmodel.interfaces import Context
    from worldmodel.planners.costs import Cost
    from worldmodel.planners.objectives import GoalDistance

    monkeypatch.chdir(tmp_path)
    model = tiny_model(context=3)
    model.set_actions([0.1, -20.0], [0.3, 40.0], [-1, -100], [1, 100])
    save_model("runs/pusht/model", model)
    monkeypatch.setattr(sys, "argv", blocks(EXPORT, "sh")[0].split("#")[0].split())
    wm_model.main()
    names: dict[str, Any] = {}
    exec(blocks(EXPORT, "python")[0], names)

    rng = np.random.default_rng(0)
    pixels, goal = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    found = names["best_plan"](pixels, goal)
    noise = np.random.default_rng(0).random((300, 12, 6))
    plans = torch.from_numpy(np.tile([-1, -100], 3) + noise * np.tile([2, 200], 3)).float()
    with torch.no_grad():
        z, z_goal = model.encode({"pixels": torch.from_numpy(np.stack([pixels, goal]))[None]}).unbind(1)
        now = Context(z[:, None], torch.zeros(1, 0, 6))
        cost = Cost(model.predictor("prefix"), GoalDistance(), now, z_goal)(model.normalise(plans)[None])
    np.testing.assert_array_equal(found.reshape(12, 6), plans[cost.argmin()].numpy())

    for frames in (1, 2, 3):
        z, plans = torch.randn(3, frames, 16), model.denormalise(torch.randn(3, frames - 1 + 9, 6))
        past, future = plans[:, : frames - 1], plans[:, frames - 1 :]
        seen = Context(z, model.normalise(past))
        for name, arguments in (("prefix", (future,)), ("one-step", (past, future))):
            with torch.no_grad():
                expected = model.predictor(name).rollout(seen, model.normalise(future)[:, None])[:, 0, -1]
            last = names["by_prefix" if name == "prefix" else "by_one_step"](*(x.numpy() for x in (z, *arguments)))
            np.testing.assert_allclose(last, expected.numpy(), atol=1e-5)


def test_every_training_command_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed, not run: they take hours, or a cluster."""
    from worldmodel.cli.train_options import parse

    monkeypatch.chdir(tmp_path)
    script = "\n".join(blocks(TRAINING, "sh")).replace("\\\n", "")
    found = re.findall(r"^(.*?)(?:wm-train|worldmodel\.cli\.train) (.*?)(?: &)?(?:#.*)?$", script, flags=re.MULTILINE)
    assert len(found) >= 5
    for launcher, line in found:
        options = parse(
            [part for part in line.split() if part != "--continue" and (part != "--resume" or "auto" in line)]
        )
        assert options.env in ("pusht", "two-room") or options.out in ("runs/pusht", "runs/online")
        counts = re.findall(r"--(?:nnodes|nproc-per-node) \"?(\$?\w+)", launcher)
        processes = math.prod(4 if count == "$SLURM_NNODES" else int(count) for count in counts)
        long, batch = options.train.long_windows, options.train.batch
        assert long % processes == 0 and batch % processes == 0, line


@pytest.mark.slow
def test_training_goes_on_with_more_data_and_with_its_own(tmp_path: Path) -> None:
    more, own = (block for block in blocks(TRAINING, "sh") if "--continue" in block or "--online" in block)
    (tmp_path / "data").mkdir()
    collect = "wm-data collect --env two-room --steps 60 --image-size 32 --workers 1 --out data/two-room.h5 --episodes"
    run(f"{collect} 6", tmp_path)
    printed = run(more.replace("--episodes 500", "--episodes 4 --steps 60 --image-size 32 --workers 1"), tmp_path)
    assert re.match(r"steps +4\n", printed)
    own = own.replace("--online 3", "--online 1").replace("--online 5", "--online 2")
    printed = run(own.replace("--round.episodes 60", "--round.episodes 2 --round.pairs 2 --round.offset 10"), tmp_path)
    rounds = [line.split()[:3] for line in printed.splitlines()[1:-1]]
    assert rounds == [["0", "10", "2"], ["1", "12", "4"], ["2", "14", "6"]]


def test_planning_with_objectives_and_planners_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from worldmodel.checkpoint import save_model
    from worldmodel.model import WorldModel
    from worldmodel.planners.registry import PLANNERS
    from worldmodel.recipes import settings

    monkeypatch.chdir(tmp_path)
    run("wm-data collect --env two-room --episodes 4 --steps 12 --image-size 64", tmp_path)
    torch.manual_seed(0)
    save_model("runs/two-room/model", WorldModel(settings("wm", "nano")[0]), env="two-room")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PLANNERS, "shooting", "")  # so that it is taken back afterwards
    names: dict[str, Any] = {"__name__": "page"}  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "page", types.ModuleType("page"))
    pages = blocks(PLANNING, "python")
    for source in pages:
        if source.startswith("from typing import NamedTuple"):
            (tmp_path / "shooting.py").write_text(source)
            own = source[source.index("class Nothing") :]
            assert len([line for line in own.splitlines() if line.strip()]) <= 20
        else:
            exec(source, names)
    assert names["solve"].iterations == 4 and len(names["solve"].curve) == 4
    assert type(names["agent"].planner).__name__ == "Shooting"
    assert names["agent"].predict(names["obs"])[0].shape == (2,)


def test_the_planning_page_knows_every_planner_and_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from worldmodel.cli import common
    from worldmodel.cli.plan_options import Options, check
    from worldmodel.planners.config import ObjectiveConfig
    from worldmodel.planners.registry import PLANNERS, planner_class

    text = PLANNING.read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \|.*\|(.*)\|$", text, flags=re.MULTILINE))
    shared = {"candidates", "iterations"}
    for name in PLANNERS:
        options = {f.name for f in fields(planner_class(name).Config)} - shared
        named = set(re.findall(r"`(\w+)`", rows[name].replace("`cem`'s", rows["cem"])))
        assert named == options, name
    assert all(f"`{f.name}`" in text for f in fields(ObjectiveConfig))
    for line in blocks(PLANNING, "sh")[0].splitlines():
        check(common.parse(Options, line.split()[1:]))


@pytest.mark.slow
def test_every_controller_that_is_shown_acts(tmp_path: Path) -> None:
    train, *plans, bench = blocks(PLANNING, "sh", "Reflex, search and both")[0].splitlines()
    printed = [run(line, tmp_path) for line in (train, *plans)][1:]
    named = [re.findall(r"^controller +(.*)$", text, flags=re.MULTILINE)[0] for text in printed]
    assert [text.split(";")[0] for text in named] == [
        *["reflex, no search"] * 2,
        "both: a search from the reflex's plan",
    ]
    printed_last = run(bench + " --budgets 20x1 --episodes 2 --offset 10 --split train", tmp_path)
    assert printed_last.splitlines()[-1].startswith("plot:")


def test_the_agent_in_loops_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_baselines3", reason="needs the extra sb3")
    import torch

    from worldmodel.checkpoint import save_model
    from worldmodel.model import WorldModel
    from worldmodel.recipes import settings

    monkeypatch.chdir(tmp_path)
    run("wm-data collect --env two-room --episodes 4 --steps 12 --image-size 64", tmp_path)
    torch.manual_seed(0)
    save_model("runs/two-room/model", WorldModel(settings("wm", "nano")[0]), env="two-room")
    names: dict[str, Any] = {}
    for section in ("Load and act", "Your SB3 agent on our latents", "Our planner inside your SB3 training"):
        for source in blocks(RL, "python", section):
            exec(source, names)
    assert -np.inf < names["mean_return"] < 0 and names["actions"].shape == (4, 2)
    assert names["learner"].num_timesteps == 120 and names["learner"].replay_buffer.size() == 30
    assert names["action"].shape == (2,) and (tmp_path / "agents" / "door").is_dir()


@pytest.mark.slow
def test_robot_data_to_a_plan_and_to_a_fixed_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    monkeypatch.chdir(tmp_path)
    write, *plan = blocks(RL, "python", "Your own robot data to a plan")
    names: dict[str, Any] = {}
    exec(write, names)
    train, again = blocks(RL, "sh", "Your own robot data to a plan")
    exec(write.replace("episodes", "more").replace("rng(episode)", "rng(20 + episode)"), {})
    for lines in (train, again[: again.index("wm-train --env two-room")]):
        run(lines.replace("--env robot", "--env robot --image-size 32"), tmp_path)
    for source in plan:
        exec(source.replace("64, 64", "32, 32"), names)
    assert names["action"].shape == (7,)
    with_torch, without = blocks(RL, "python", "A robot at a fixed rate")
    exec(with_torch, names)
    assert names["report"].ticks > 0 and names["report"].plans > 0
    run(blocks(RL, "sh", "A robot at a fixed rate")[0], tmp_path)
    exec(without, names)
    assert names["report"].plans > 0 and type(names["agent"]).__name__ == "OnnxAgent"


def test_commands_on_rewards_and_rounds_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed, not run: they take hours."""
    from worldmodel.cli import common
    from worldmodel.cli.plan_options import Options, check
    from worldmodel.cli.train import parse

    monkeypatch.chdir(tmp_path)
    (reward,) = blocks(RL, "sh", "Load and act")
    *_, more = blocks(RL, "sh", "Your own robot data to a plan")
    train, plan, *_, online = (line.split("#")[0].split()[1:] for line in (reward + more).splitlines())
    assert parse(train).heads == ("reward,value",) and parse(online).online == 5
    options = common.parse(Options, plan)
    check(options)
    assert options.objective == "reward"


@pytest.mark.slow
def test_every_evaluation_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are shown, on an untrained model; the names of evaluations say what was made quick."""
    from tests.benchmarks.suspects import untrained
    from worldmodel.checkpoint import save_model
    from worldmodel.datasets.store import EpisodeStore

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SMALL, "wm-plan", "--candidates 8 --elites 2 --iterations 1 --no-video")
    run("wm-data collect --env two-room --episodes 40 --steps 70 --image-size 32", tmp_path)
    with EpisodeStore("data/two-room.h5") as store:
        about = {"path": "data/two-room.h5", "fingerprint": store.fingerprint}
        save_model("runs/two-room/model", untrained(store), env="two-room", dataset=about)
    first, diagnoses, again = blocks(EVALUATION, "sh")
    plans = first.replace("wm-plan --env two-room", "wm-plan --env two-room --episodes 2").replace("--simulator 50", "")
    quick = "evaluation/lewm-25-pairs-2-candidates-8-elites-2-iterations-1-"
    made = plans.replace("evaluation/lewm-25-", quick)
    run(made, tmp_path)
    run(diagnoses, tmp_path)
    run(again.replace("evaluation/lewm-25-", quick), tmp_path)
    assert (tmp_path / "runs" / "two-room" / "report.html").exists()


def test_the_evaluation_page_knows_every_protocol() -> None:
    from worldmodel.benchmarks import protocols

    text = EVALUATION.read_text()
    assert all(f"`{name}`" in text for name in protocols.names())
