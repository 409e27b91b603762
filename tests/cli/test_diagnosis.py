"""The commands that diagnose a model: tables, files, and mistakes in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.datasets.collecting import collect_here
from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import Record
from worldmodel.checkpoint import save_model
from worldmodel.cli import bench
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry

COMMON = {"diagnostic", "env", "model", "dataset", "seed", "hardware", "versions", "commit", "date"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained run of two-room, its episodes, a saved evaluation of it, and one of other weights."""
    folder = tmp_path_factory.mktemp("workplace")
    path = collect_here(folder / "data" / "two-room.h5", 40, image_size=16, steps=40)
    model, run = tiny_model(), folder / "runs" / "two-room"
    with EpisodeStore(path) as store:
        about = {"path": "data/two-room.h5", "fingerprint": store.fingerprint}
        pairs = sample_pairs(store, registry.make("two-room").unwrapped, 12, 6, 0, "train")
    save_model(run / "model", model, env="two-room", dataset=about)
    agent = model.agent(candidates=4, elites=2, iterations=1, horizon=4, execute_steps=4, goal_offset=12)
    weights = file_fingerprint(run / "model" / "model.safetensors")
    for name, fingerprint in (("lewm-25-prefix", weights), ("lewm-25-before", "0" * 64)):
        Record(
            values={
                "env": "two-room",
                "predictor": "prefix",
                "execute_steps": 4,
                "horizon": 4,
                "model": {"fingerprint": fingerprint},
            },
            pairs=pairs,
            outcome=evaluate(agent, "two-room", pairs, 24, 16),
            floors=floors_and_ceiling("two-room", pairs, 24, 0),
        ).save(run / "evaluation" / name)
    return folder


@pytest.fixture
def command(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``wm-bench`` there; return exit code, stdout and stderr."""
    monkeypatch.chdir(workplace)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["wm-bench", *arguments])
        code: object = 0
        try:
            bench.main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_recorded_episodes_of_a_task_that_nothing_simulates_are_enough(
    command: Any, workplace: Path, tmp_path: Path
) -> None:
    """As a robot's are: predictions and latents are judged on what was held out; whatever acts or draws is refused."""
    path = tmp_path / "robot.h5"
    shutil.copy(workplace / "data" / "two-room.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["env"] = "robot"
    with EpisodeStore(path) as store:
        about = {"path": str(path), "fingerprint": store.fingerprint}
    save_model(tmp_path / "run" / "model", tiny_model(), env="robot", dataset=about)
    for diagnosis in ("openloop", "probe"):
        code, _, err = command(diagnosis, "--model", str(tmp_path / "run"), "--env", "robot", "--device", "cpu")
        assert code == 0, err
        assert json.loads((tmp_path / "run" / "evaluation" / f"{diagnosis}.json").read_text())["env"] == "robot"
    code, _, err = command("report", str(tmp_path / "run"))
    assert code == 0, err
    code, _, err = command("surprise", "--model", str(tmp_path / "run"))
    assert code == 2 and "nothing here simulates; wm-bench openloop and probe judge it on recorded episodes" in err
    path.unlink()
    code, _, err = command("openloop", "--model", str(tmp_path / "run"))
    assert code == 2 and "no such file: data/robot.h5; name the episodes of robot" in err
    code, _, err = command("openloop", "--model", str(tmp_path / "run"), "--env", "two-room")
    assert code == 2 and "was trained on robot, not on two-room" in err


def test_openloop_prints_a_table_and_writes_into_the_run(command: Any, workplace: Path) -> None:
    code, out, err = command("openloop", "--horizons", "1", "5", "--device", "cpu")
    assert code == 0, err
    values = json.loads((workplace / "runs/two-room/evaluation/openloop.json").read_text())
    assert set(values) >= COMMON | {"horizons", "env_steps", "copy", "predictors", "n_starts", "n_episodes"}
    assert values["diagnostic"] == "openloop" and values["env"] == "two-room" and values["env_steps"] == [3, 15]
    for found in values["predictors"].values():
        assert {len(found[name]) for name in ("error", "over_copy", "low", "high", "sensitivity")} == {2}
    assert "environment steps" in out and "evaluation/openloop.json" in out


def test_geometry_examines_the_saved_evaluations_of_these_weights(
    command: Any, workplace: Path, tmp_path: Path
) -> None:
    code, out, err = command("geometry", "--model", "runs/two-room", "--json", str(tmp_path / "some" / "g.json"))
    assert code == 0, err
    values = json.loads((tmp_path / "some" / "g.json").read_text())
    assert set(values) >= COMMON | {
        "semigroup",
        "rank_correlation",
        "effective_rank",
        "std",
        "straightness",
        "executed",
    }
    assert list(values["executed"]) == ["lewm-25-prefix"]
    found = values["executed"]["lewm-25-prefix"]
    assert found["n"] == len(found["reasons"]) == 6 and set(found["first"]) >= {"one-step", "prefix", "copy"}
    assert "lewm-25-before is of other weights" in out and "evaluation lewm-25-prefix" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["openloop", "--horizons", "0"], "--horizons: expected numbers of 1 or more"),
        (["openloop", "--horizons", "99"], "--horizons: the episodes, of 13 model steps at most, reach none of"),
        (["geometry", "--model", "nowhere"], "--model: no such model or run folder: nowhere"),
        (["geometry", "--env", "dmc/fish-swim"], "no trained run of dmc/fish-swim"),
        (["geometry", "--split", "tests"], "--split: unknown split 'tests'"),
        (["geometry", "--seed", "-1"], "--seed: expected 0 or more, got -1"),
        (["openloop", "--dataset", "none.h5"], "--dataset: no such file: none.h5"),
    ],
)
def test_a_mistake_is_one_line(command: Any, arguments: list[str], said: str) -> None:
    code, _, err = command(*arguments)
    assert code == 2 and said in err and err.count("\n") == 1
