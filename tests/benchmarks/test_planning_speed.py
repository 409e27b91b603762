"""``wm-bench speed``: cases, times, ratios, and what is asked of another environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from worldmodel.benchmarks import loading, planning_cases, planning_speed
from worldmodel.benchmarks.planning_cases import Case, Ratio
from worldmodel.benchmarks.planning_solver import Solver
from worldmodel.benchmarks.settings import Setting
from worldmodel.cli import bench
from worldmodel.errors import BadValue
from worldmodel.interfaces import Context
from worldmodel.published import read_published

CPU = torch.device("cpu")
SEARCH = {"planner": "cem", "candidates": 8, "iterations": 1, "elites": 2, "correlation": 0.0, "precision": "fp32"}
TINY = "--candidates 8 --iterations 1 --seconds 0.001 --least 1 --rounds 2 --device cpu --json s.json"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["wm-bench", "speed", *map(str, (*TINY.split(), *arguments))])
    try:
        bench.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_all_combinations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--settings", "cem elites=2", "--environments", 1, 3, "--horizons", 2) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and len(lines) == 5 + 3 + 2 and lines[0].startswith("case") and "wm/nano cem prefix H 2 B 1" in out
    found = json.loads(Path("s.json").read_text())
    assert [one["environments"] for one in found["cases"]] == [1, 3, 1, 3] and len(found["ratios"]) == 2
    for one in found["cases"]:
        assert 0 < one["p50_ms"] <= one["p99_ms"] and one["solves"] >= 2 and one["iterations"] == 1
        assert one["flops"] > 1e6 and 0 < one["of_ceiling"] < 1.5 and one["plans_per_s"] > 0
    assert {"hardware", "versions", "commit", "settings"} <= found.keys() and "encode_ms" in found["cases"][0]
    assert found["cases"][1]["flops"] == pytest.approx(3 * found["cases"][0]["flops"], rel=0.7)  # few rows are padded
    assert Path("s.png").read_bytes()[1:4] == b"PNG"


def test_what_an_accelerator_should_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--targets", "--presets", "nano", "--rounds", 1) == 0
    found = json.loads(Path("s.json").read_text())
    assert len(found["cases"]) == 12 and len(found["ratios"]) == 4
    said = {(one["setting"]["options"]["precision"], one["bf16"]) for one in found["cases"]}
    assert said == {("fp32", False), ("bf16", True)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--presets papr", "did you mean 'paper'"),
        ("--seconds 0", "--seconds: expected more than 0"),
        ("--environments 0", "--environments: expected numbers"),
        ("--horizons", "--horizons: expected numbers"),
        ("--settings cemm", "--settings: setting 'cemm'"),
        ("--predictors prefx --candidates 20", "did you mean 'prefix'"),
        ("--peer /nowhere --targets", "--targets: has no effect beside --peer"),
        ("--model nowhere --presets paper", "--presets: has no effect beside --model"),
        ("--targets --horizons 7", "--horizons: has no effect beside --targets"),
        ("--targets --presets nano paper", "--presets: one at most"),
        ("--predictors", "--predictors: expected at least one"),
        ("--settings", "--settings: expected at least one"),
        ("--seconds nan", "--seconds: expected more than 0"),
        ("--seconds inf", "--seconds: expected more than 0"),
        ("--json .", "--json: . is a folder"),
        ("--json file/s.json", "--json: file/s.json cannot be written"),
        ("--model nowhere --candidates 20", "nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert run(monkeypatch, *arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("wm-bench: ") and says in err


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("cem horizon=7", "horizon has an option of its own, use --horizons"),
        ("cem predictor=one-step", "predictor has an option of its own, use --predictors"),
        ("cem elites=2 deadline_ms=50", "deadline_ms is for wm-bench frontier"),
        ("cem planner=icem", "planner: it is the first word"),
    ],
)
def test_a_setting_that_would_not_count(
    setting: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--settings", setting) == 2
    assert f"--settings: setting '{setting}': {says}" in capsys.readouterr().err


def test_cases_beside_the_peer() -> None:
    cases, ratios = planning_cases.beside_peer({**SEARCH, "candidates": 300})
    assert len(planning_cases.names(cases)) == len(set(planning_cases.names(cases)))
    assert [case.setting.options["horizon"] for case in cases if case.peer] == [5, 32]
    for ratio in ratios:
        over, under = cases[ratio.over], cases[ratio.under]
        if over.peer:
            assert not under.peer and over.setting.options["horizon"] == under.setting.options["horizon"]
    last = cases[ratios[-1].under]
    assert last.environments == 50 and cases[ratios[-1].over] == last.but(environments=1)
    assert {case.jump for case in cases if case.setting.options["horizon"] == 32} == {0, 32, 8, 5}
    assert sum("arrivals" in case.setting.options for case in cases) == 1


def peer(python: str, source: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What the other environment answers, predicted by the weights that were handed over."""
    assert source.name == "planning_speed_peer.py" and python == "python"
    folder, chosen = Path(given["folder"]), given["cases"][0]
    assert (chosen["candidates"], chosen["elites"], chosen["environments"]) == (8, 2, 1)
    model, told = read_published(folder / "weights.pt"), torch.load(folder / "inputs.pt", weights_only=True)
    context = Context(told["z"][:1], torch.zeros(1, 0, len(model.low)))
    with torch.no_grad():
        latents = model.predictor("one-step").rollout(context, told["plans"])
    cost = (latents[:, :, -1] - told["goal"][:1]).square().sum(dim=-1)
    torch.save({"latents": latents, "cost": cost * given.get("wrong", 1)}, folder / "from-theirs.pt")
    return {"cases": [{"times": [(1.0, 4.0)], "flops": 10, "iterations": 1}], "versions": {"torch": "2"}}


def test_the_peer_gets_the_weights_and_must_predict_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "feed", peer)
    ours = Case(model="lewm/paper", setting=Setting(options={"predictor": "one-step", "horizon": 3, **SEARCH}))
    told = {"device": "cpu", "threads": 1, "seconds": 0.0, "least": 1, "rounds": 1, "peer": "python"}
    cases = [ours.but(peer=True), ours]
    found = planning_speed.measure(cases, [Ratio("theirs over {}", 0, 1)], told, lambda: None)
    assert max(found["differs_by"].values()) < 1e-5 and found["peer_versions"] == {"torch": "2"}
    theirs, mine = found["cases"]
    assert (theirs["cpu_ms"], theirs["p50_ms"], theirs["flops_per_s"]) == (4000.0, 1000.0, 2.5)
    assert found["ratios"][0]["times"] == pytest.approx(4000 / mine["cpu_ms"])
    with pytest.raises(BadValue, match="--peer: it predicts something else"):
        planning_speed.beside(cases[:1], Solver(ours, CPU), {**told, "wrong": 1.01})


def test_ratios_are_taken_within_a_round() -> None:
    one = Case(model="wm/nano", setting=Setting(options={"planner": "cem", "predictor": "prefix", "horizon": 5}))
    cases = [one, one.but(environments=10)]
    rounds = [[[(1.0, 2.0)], [(5.0, 10.0)]], [[(2.0, 4.0)], [(4.0, 8.0)]], [[(9.0, 9.0)], [(90.0, 30.0)]]]
    found = planning_speed.compare(Ratio("10 solves over one", 0, 1), rounds, cases, "cpu")
    assert (found["times"], found["range"]) == (3.0, (2.0, 5.0))
    assert planning_speed.compare(Ratio("", 0, 1), rounds, cases, "cuda")["range"] == (1.0, 5.0)  # seconds there
    head, row = planning_speed.ratio_rows([found], "cpu")
    assert head[0] == "CPU-seconds of a plan" and row == ("10 solves over one", "3.00", "2.00", "5.00")


def test_numbers_of_a_case() -> None:
    walls = [[(float(i), 2.0) for i in range(1, 101)], [(0.5, 6.0)]]
    given = {"flops": 80, "iterations": 4, "bf16": False}
    found = planning_speed.summary(walls, 2, given, {False: {"cpu": 40.0, "wall": 1.0}}, "cpu")
    assert (found["solves"], found["p50_ms"], found["p99_ms"], found["cpu_ms"]) == (101, 50_000, 99_000, 4000)
    assert (found["flops_per_s"], found["of_ceiling"], found["ms_per_plan"]) == (20, 0.5, 2000)
    assert found["ms_per_iteration"] == 500
