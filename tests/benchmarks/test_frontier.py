"""``wm-bench frontier`` on a tiny untrained model."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks import frontier, plots
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.settings import parse
from worldmodel.checkpoint import save_model
from worldmodel.cli import bench

QUICK = "elites=2 candidates=8"


@pytest.fixture
def run(dataset, tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "run" / "model", tiny_model(), env="two-room", dataset={"path": str(dataset)})
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        common = ("--model", "run", "--episodes", 12, "--offset", 10, "--device", "cpu", "--json", "f.json")
        monkeypatch.setattr(sys, "argv", ["wm-bench", "frontier", *map(str, (*common, *arguments))])
        code = 0
        try:
            bench.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_settings_side_by_side(run):
    settings = (f"cem {QUICK} iterations=1", f"cem {QUICK} iterations=2 score=best")
    code, out, err = run("--settings", *settings, f"cem {QUICK} deadline_ms=500")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("setting") and lines[4].startswith("random policy") and "the ceiling" in lines[6]
    found = json.loads(Path("f.json").read_text())
    first, second, third = found["settings"]
    assert found["n"] == 12 and found["replay"] == 1.0 and found["noop"] == 0.0
    assert first["against_first"] == {"gained": 0, "lost": 0, "p": 1.0} and first["late"] is None
    assert (first["setting"], first["iterations"], second["iterations"]) == (settings[0], 1, 2)
    assert third["late"] is not None and 0 < third["iterations"] <= 10
    assert all(0 < one["p50_ms"] <= one["p99_ms"] <= one["slowest_ms"] and one["plans"] >= 12 for one in (first, third))
    assert {"hardware", "versions", "commit", "model", "dataset"} <= found.keys()
    assert Path("f.png").read_bytes()[1:4] == b"PNG"


def test_planners_times_budgets(run):
    code, out, _ = run("--planners", "cem", "--budgets", "20x1", "30x1", "--episodes", 2)
    assert code == 0 and "cem candidates=20 iterations=1" in out and "cem candidates=30 iterations=1" in out


def test_what_is_asked_for_beside_settings_is_measured_too(run):
    for more in (("--budgets", "20x1"), ("--controllers", "search", "--budgets", "20x1")):
        code, out, _ = run("--settings", f"cem {QUICK}", *more, "--episodes", 1)
        assert code == 0 and "cem candidates=20 iterations=1" in out and f"cem {QUICK}" in out


def test_quantiles_are_of_all_plans(store, task):
    """An agent keeps the last ones only."""
    pairs = sample_pairs(store, task, 10, 2, seed=0)
    played = frontier.Played(parse(f"cem {QUICK} iterations=1"), parse(f"cem {QUICK} iterations=1").agent(tiny_model()))
    assert played.agent.stats.milliseconds.maxlen
    found = frontier.measure([played], "two-room", pairs, 20, 0, int)
    assert found["settings"][0]["plans"] == len(played.agent.stats.milliseconds)
    assert all(
        kept.maxlen is None
        for kept in (played.agent.stats.milliseconds, played.agent.stats.rows, played.agent.stats.solves)
    )


def test_predictors_and_horizons_side_by_side(run):
    settings = (f"cem {QUICK}", f"cem {QUICK} predictor=one-step", f"cem {QUICK} horizon=2")
    code, out, _ = run("--settings", *settings, "--episodes", 2)
    assert code == 0 and all(setting in out for setting in settings)


def test_controllers_side_by_side(run, tmp_path, dataset):
    about = {"env": "two-room", "dataset": {"path": str(dataset)}}
    save_model(tmp_path / "run" / "model", tiny_model(reflex=8), **about)
    code, _, _ = run("--controllers", "both", "--episodes", 1)
    (usual,) = json.loads(Path("f.json").read_text())["settings"]
    assert (code, usual["setting"], usual["iterations"]) == (0, "cem controller=both", 3)
    options = ("--controllers", "search", "reflex", "both", "--budgets", "20x1", "--episodes", 2)
    code, out, err = run(*options)
    assert (code, err) == (0, "") and "ms an action" in out
    found = json.loads(Path("f.json").read_text())["settings"]
    assert [one["setting"] for one in found] == [
        "cem candidates=20 iterations=1 controller=search",
        "cem controller=reflex",
        "cem candidates=20 iterations=1 controller=both",
    ]
    assert [one["controller"] for one in found] == ["search", "reflex", "both"]
    assert [one["iterations"] for one in found] == [1, 0, 1]
    assert found[1]["reflexes"] == found[1]["plans"] > 0 == found[2]["reflexes"]
    assert found[1]["ms_per_action"] == pytest.approx(found[1]["mean_ms"] / 3)  # R = 1, F = 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--planners", "cemm"), "--planners: unknown planner 'cemm': did you mean 'cem'"),
        (("--settings", "cem planner=icem"), "--settings: setting 'cem planner=icem': planner: it is the first word"),
        (("--settings", "cem goal_offset=7"), "goal_offset has an option of its own, use --offset"),
        (("--settings", "cem seed=7"), "seed has an option of its own, use --seed"),
        (("--budgets", "5x1"), "--budgets: setting 'cem candidates=5 iterations=1': elites: 10 cannot be kept"),
        (("--controllers", "reflexx"), "--controllers: unknown controller 'reflexx': did you mean 'reflex'"),
        (("--controllers", "both"), "controller: both takes a model with a reflex"),
        (("--controllers", "reflex", "--planners", "icem"), "--planners: have no effect on --controllers reflex"),
        (("--budgets",), "--budgets: expected at least one"),
        (("--json", "run"), "--json: run is a folder"),
        (("--json", "run/model/config.json/f.json"), "--json: run/model/config.json/f.json cannot be written"),
        (("--budgets", "300"), "--budgets: expected CANDIDATESxITERATIONS"),
        (("--settings", "cem elites=400"), "--settings: setting 'cem elites=400'"),
        (("--settings", f"cem {QUICK} deadline_ms=1e-6"), "too short"),
        (("--predictor", "prefx"), "--predictor: unknown predictor 'prefx': did you mean 'prefix'"),
        (("--episodes", 0), "--episodes"),
        (("--threads", 0), "--threads"),
        (("--split", "tests"), "did you mean 'test'"),
        (("--model", "nowhere"), "--model: no such"),
    ],
)
def test_mistakes(run, arguments, says):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("wm-bench: ") and says in err


def test_taking_turns_changes_no_outcome(store, task):
    """What a row does among some of the pairs is what it does among all."""
    pairs = sample_pairs(store, task, 10, 12, seed=0)
    agents = [parse(f"cem {QUICK} iterations=2", seed=3).agent(tiny_model()) for _ in range(2)]
    whole = evaluate(agents[0], "two-room", pairs, 20, image_size=16)
    parts = [evaluate(agents[1], "two-room", pairs, 20, 16, 1, 1, only=some) for some in (range(5), range(5, 12))]
    assert np.array_equal(whole.success, np.concatenate([part.success for part in parts]))
    assert np.array_equal(whole.steps, np.concatenate([part.steps for part in parts]))
    assert [len(part.rollouts) for part in parts] == [1, 1]


@dataclass
class Stats:
    milliseconds: list[float]
    solves: list[SimpleNamespace] = field(default_factory=lambda: [SimpleNamespace(milliseconds=1.0, iterations=2)])
    plans: int = 100
    reflexes: int = 0


def test_the_paired_comparison_and_the_deadline():
    agent = SimpleNamespace(
        stats=Stats([10.0] * 97 + [20.0, 30.0, 40.0]),
        config=SimpleNamespace(deadline_ms=25.0),
        model=SimpleNamespace(config=SimpleNamespace(action_block=5)),
        controller="search",
        execute_steps=2,
    )
    reference = np.array([True] * 4 + [False] * 16)
    success = np.array([False] * 1 + [True] * 12 + [False] * 7)
    pairs = SimpleNamespace(hard=np.array([False] * 15 + [True] * 5))
    one = frontier.Played(parse("cem iterations=2"), agent, success.tolist())
    found = frontier.summary(one, reference, pairs)
    assert found["against_first"] == {"gained": 9, "lost": 1, "p": pytest.approx(22 / 1024)}
    assert (found["p50_ms"], found["p99_ms"], found["slowest_ms"], found["late"]) == (10, 30, 40, 0.02)
    assert found["ms_per_action"] == pytest.approx((970 + 90) / 100 / 10)
    assert found["hard"]["success"] == 0 and found["success"] == 0.6


def test_plots_can_be_vectors(tmp_path):
    one = {"setting": "cem", "success": 0.5, "low": 0.4, "high": 0.6, "p50_ms": 3.0, "p99_ms": 5.0}
    found = {"settings": [one, {**one, "success": 1.0, "high": 1.0}], "random": 0.1, "noop": 0.0, "replay": 1.0, "n": 9}
    assert "<svg" in plots.frontier(found, tmp_path / "f.svg").read_text()
    case = {"name": "wm cem H 5 B 1", "p50_ms": 1.0, "p99_ms": 2.0, "environments": 1, "plans_per_s": 1000.0}
    assert "<svg" in plots.speed([case], tmp_path / "s.svg").read_text()
