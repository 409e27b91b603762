"""Trainings are one file each, comparable, and joined into curves that a slow computation agrees with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks import plots, rl_curves, rl_latents, rl_runs
from worldmodel.benchmarks.intervals import bootstrap_mean, wilson
from worldmodel.benchmarks.rl_latents import Options
from worldmodel.checkpoint import save_model
from worldmodel.errors import BadFile, BadValue, UnknownName

NEEDS = "Stable-Baselines3 is in the extra sb3"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl_latents, "ENVIRONMENTS", 2)
    monkeypatch.setitem(rl_latents.PPO, "n_steps", 16)
    monkeypatch.setitem(rl_latents.PPO, "batch_size", 32)
    monkeypatch.setitem(rl_latents.TASKS, "two-room", rl_latents.Task(("pixels", "goal"), 10, True))


def test_trainings_are_files_that_are_left_alone_and_joined(
    tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS)
    save_model(tmp_path / "model", tiny_model())
    common = {"tasks": ("two-room",), "seeds": (0, 1), "steps": 64, "episodes": 3, "runs_dir": str(tmp_path / "runs")}
    rl_latents.run(Options(arms=("random", "pixels"), image_size=40, **common))  # type: ignore[arg-type]
    before = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    assert sorted(path.name for path in before) == [
        f"two-room-{arm}-{i}.json" for arm in ("pixels", "random") for i in (0, 1)
    ]
    rl_latents.run(Options(arms=("random", "pixels"), image_size=40, **common))  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == before
    assert "already there" in capsys.readouterr().out
    with pytest.raises(BadFile, match="two-room-pixels-0.json was made with episodes 3, now 4: remove it"):
        rl_latents.run(Options(arms=("pixels",), image_size=40, **common | {"episodes": 4}))  # type: ignore[arg-type]

    folder = common["runs_dir"] = str(tmp_path / "latents")
    model = str(tmp_path / "model")
    outputs = {"json": str(tmp_path / "a.json"), "plot": str(tmp_path / "a.png")}
    rl_latents.run(Options(arms=("latents", "random"), model=model, **outputs, **common))  # type: ignore[arg-type]
    trained = json.loads((Path(folder) / "two-room-latents-1.json").read_text())
    assert trained["steps"] == 64 and len(trained["episodes"]["step"]) >= 6
    assert trained["episodes"]["step"] == sorted(trained["episodes"]["step"])
    assert len(trained["evaluation"]["success"]) == 3
    arms = json.loads((tmp_path / "a.json").read_text())["tasks"]["two-room"]
    assert len(arms["latents"]["settings"]["model"]) == 64 and "model" not in arms["random"]["settings"]
    assert arms["latents"]["seeds"][1]["return"] == pytest.approx(np.mean(trained["evaluation"]["return"]))
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_evaluation_is_of_the_same_episodes_whatever_was_seen(small: None) -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS)
    ended = []
    for size, model in ((40, None), (16, tiny_model())):
        env = rl_latents.make_envs("two-room", 1, size, model)
        ended.append(rl_runs.evaluate(env, rl_runs.Uniform(env.action_space, 0), 3))
    assert ended[0] == ended[1] and len(set(ended[0]["return"])) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tasks": ("two-rom",)}, UnknownName, "unknown --tasks 'two-rom': did you mean 'two-room'"),
        ({"arms": ("pixel",)}, UnknownName, "unknown --arms 'pixel': did you mean 'pixels'"),
        ({"steps": 0}, BadValue, "--steps, --episodes: expected 1 or more"),
        ({"arms": ("latents",)}, BadValue, "--model: the latents need one"),
        ({"join": True, "runs_dir": "nowhere"}, BadFile, "no trainings in nowhere"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        rl_latents.run(Options(**options))  # type: ignore[arg-type]


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_model())
    with pytest.raises(BadValue, match="--model: trained on two-room, --tasks says dmc/reacher-easy"):
        rl_latents.run(Options(tasks=("dmc/reacher-easy",), arms=("latents",), model=str(tmp_path / "model")))


def written(folder: Path, arm: str, seed: int, level: float, steps: int = 200) -> None:
    """A training whose episodes of ten steps each bring ``level`` + their number."""
    ends = list(range(10, steps + 1, 10))
    run = {
        "task": "two-room",
        "arm": arm,
        "seed": seed,
        "settings": {"steps": steps, "episodes": 2},
        "evaluation": {"return": [level, level + 2], "success": [True, False]},
        "commit": None,
        "date": "",
    }
    if arm != "random":
        returns = [level + i for i in range(len(ends))]
        run |= {"steps": steps, "wall_s": 2.0, "cpu_s": 1.0}
        run["episodes"] = {"step": ends, "return": returns, "success": [i >= 10 for i in range(len(ends))]}
    (folder / f"{arm}-{seed}.json").write_text(json.dumps(run))


def test_curves_are_means_and_ranges_of_the_seeds(tmp_path: Path) -> None:
    for seed, level in ((0, 0.0), (1, 10.0)):
        written(tmp_path, "pixels", seed, level)
    written(tmp_path, "random", 0, -5.0)
    found = rl_curves.join(tmp_path)["two-room"]
    curve = found["pixels"]["curve"]
    assert curve["step"] == [10.0 * (i + 1) for i in range(20)]
    assert curve["return"] == [i + 5.0 for i in range(20)]  # one episode a stretch; an end on an edge is before it
    assert curve["return_low"] == [float(i) for i in range(20)]
    assert curve["return_high"] == [i + 10.0 for i in range(20)]
    assert curve["success"] == [float(i >= 10) for i in range(20)]
    end = found["pixels"]["evaluation"]
    assert (end["return"], end["episodes"], end["success"]) == (6.0, 2, 0.5)
    assert (end["return_low"], end["return_high"], end["success_low"], end["success_high"]) == (5.0, 7.0, 0.0, 1.0)
    assert (end["return_worst_seed"], end["return_best_seed"]) == (1.0, 11.0)  # far outside the interval over starts
    assert (end["success_worst_seed"], end["success_best_seed"]) == (0.5, 0.5)
    assert "curve" not in found["random"]
    line = ["6.0", "[5.0, 7.0]", "1.0 11.0", "50.0 %", "[0.0, 100.0]", "50.0 50.0", "200"]  # steps a second
    assert rl_curves.rows({"two-room": found})[1] == ["two-room", "pixels", *line]
    assert "95 %: over starts, of these trainings" in rl_curves.table({"two-room": found})
    assert plots.curves({"two-room": found}, tmp_path / "a.png").stat().st_size > 1000


def test_the_interval_of_success_is_over_starts() -> None:
    hits = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]], float)
    found = rl_curves.over_starts("success", hits)
    assert found["success"] == 0.5
    assert (found["success_low"], found["success_high"]) == bootstrap_mean(np.array([1, 2 / 3, 0, 1 / 3]))
    for rate in (0, 1):  # not sure of it
        found = rl_curves.over_starts("success", np.full((3, 4), rate, float))
        assert (found["success_low"], found["success_high"]) == wilson(4 * rate, 4)


def test_stretches_without_an_episode_are_empty(tmp_path: Path) -> None:
    written(tmp_path, "pixels", 0, 0.0, steps=50)
    run = json.loads((tmp_path / "pixels-0.json").read_text())
    run["settings"]["steps"] = 100
    (tmp_path / "pixels-0.json").write_text(json.dumps(run))
    curve = rl_curves.join(tmp_path)["two-room"]["pixels"]["curve"]
    assert curve["return"] == [None, 0.0, None, 1.0, None, 2.0, None, 3.0, None, 4.0] + [None] * 10
    plots.curves(rl_curves.join(tmp_path), tmp_path / "a.png")

    run["seed"], run["episodes"] = 1, {name: values[:2] for name, values in run["episodes"].items()}
    (tmp_path / "pixels-1.json").write_text(json.dumps(run))  # no mean of fewer seeds than there are
    curve = rl_curves.join(tmp_path)["two-room"]["pixels"]["curve"]
    assert curve["return"] == curve["return_high"] == [None, 0.0, None, 1.0] + [None] * 16
    for seed in (0, 1):  # none that ended
        (tmp_path / f"pixels-{seed}.json").write_text(json.dumps(run | {"seed": seed, "episodes": {}}))
        curve = rl_curves.join(tmp_path)["two-room"]["pixels"]["curve"]
        assert curve["return"] == curve["success"] == [None] * 20
        plots.curves(rl_curves.join(tmp_path), tmp_path / "a.png")


def test_trainings_with_different_settings_are_not_joined(tmp_path: Path) -> None:
    written(tmp_path, "pixels", 0, 0.0)
    written(tmp_path, "latents", 0, 0.0, steps=100)
    with pytest.raises(BadFile, match="runs of two-room with different settings: steps "):
        rl_curves.join(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": {"episodes": 1}}, "episodes 1 and 2"),
        ({"arm": "random", "settings": {"episodes": 1}}, "episodes 1 and 2"),
        ({"settings": {"steps": 200, "play": {"steps": 9}}}, "play {'steps': 9} and {'steps': 8}"),
        ({"settings": {"steps": 200, "model": "another"}}, "model another and one"),
        ({"settings": {"episodes": 2}}, None),
    ],
)
def test_runs_are_joined_where_they_agree_in_what_they_share(
    tmp_path: Path, changed: dict[str, object], message: str | None
) -> None:
    for seed, more in (
        (0, {"settings": {"steps": 200, "episodes": 2, "play": {"steps": 8}, "model": "one"}}),
        (1, changed),
    ):
        written(tmp_path, "pixels", seed, 0.0)
        path = tmp_path / f"pixels-{seed}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    if message is None:
        rl_curves.join(tmp_path)
    else:
        with pytest.raises(BadFile, match=re.escape(f"runs of two-room with different settings: {message}")):
            rl_curves.join(tmp_path)
