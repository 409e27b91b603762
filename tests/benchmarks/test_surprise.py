"""Violation of expectation: the clips are what they say, and changes are seen by who can see them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.benchmarks.test_plan import tiny
from tests.envs.drawing import skip_unless_it_draws
from worldmodel.benchmarks import surprise
from worldmodel.benchmarks.surprise import AFTER, BEFORE, Clips, clips, measure
from worldmodel.checkpoint import save_model
from worldmodel.cli import bench
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.envs import registry
from worldmodel.errors import BadValue

C, F = 2, 5


@pytest.fixture
def shown(store: EpisodeStore) -> Clips:
    return clips(store, registry.make("two-room", image_size=16).unwrapped, C, F, n=7, seed=0)


def test_the_control_is_what_was_recorded_and_the_others_begin_like_it(store: EpisodeStore, shown: Clips) -> None:
    T = C + BEFORE + 1 + AFTER
    assert {name: x.shape for name, x in shown.frames.items()} == dict.fromkeys(
        ("control", "colour", "teleport"), (7, T, 16, 16, 3)
    )
    assert shown.change == C + BEFORE and shown.actions.shape == (7, T - 1, 2 * F)
    for i, row in enumerate(shown.row.tolist()):
        recorded = store.read("pixels", row, row + (T - 1) * F + 1)[::F]
        assert np.array_equal(shown.frames["control"][i], recorded)
        actions = store.read("action", row, row + (T - 1) * F)
        assert np.array_equal(shown.actions[i].ravel(), actions.ravel())
        for name in ("colour", "teleport"):
            same = [np.array_equal(a, b) for a, b in zip(shown.frames[name][i], recorded)]
            assert same == [True] * shown.change + [False] * (1 + AFTER)
    assert sorted(np.bincount(shown.episode)[store.episodes("test")]) == [2, 2, 3]  # as many of each as can be


def test_only_the_colour_changes_and_the_rest_goes_on_from_elsewhere(store: EpisodeStore, shown: Clips) -> None:
    control, colour, teleport = (shown.frames[name].astype(int) for name in ("control", "colour", "teleport"))
    floor = np.array([255, 255, 255])
    for i in range(len(control)):
        for t in range(shown.change, len(control[i])):
            strange = np.abs(colour[i, t] - control[i, t]).max(axis=-1) > 4
            assert (np.abs(control[i, t] - floor).max(axis=-1)[strange] > 4).all()  # nothing but the agent
        here, there = teleport[i, shown.change - 1], teleport[i, shown.change]
        strange = np.flatnonzero((np.abs(here - there).max(axis=-1) > 60).any(axis=0))
        assert strange.min() < 8 <= strange.max()  # it left one room and is in the other
    again = clips(store, registry.make("two-room", image_size=16).unwrapped, C, F, n=7, seed=0)
    assert all(np.array_equal(again.frames[name], x) for name, x in shown.frames.items())


def test_clips_of_mujoco_go_on_by_the_recorded_actions(tmp_path: Path) -> None:
    skip_unless_it_draws("dmc/reacher-qpos")
    task = registry.make("dmc/reacher-qpos", image_size=16, terminate_on_success=False).unwrapped
    episodes = []
    for seed in range(2):
        rng, columns = np.random.default_rng(seed), {"pixels": [], "state": [], "action": []}
        task.reset(seed=seed)
        for _ in range(12):
            columns["pixels"].append(task.render())
            columns["state"].append(task.get_state())
            columns["action"].append(rng.uniform(-1, 1, 2).astype(np.float32))
            task.step(columns["action"][-1])
        episodes.append({name: np.stack(x) for name, x in columns.items()} | {"split": 2})
    path = write_store(tmp_path / "r.h5", episodes, {"env": "dmc/reacher-qpos", "image_size": 16})
    with EpisodeStore(path) as store:
        shown = clips(store, task, 1, 1, n=4, seed=0)
        first = int(shown.row[0])
        states, actions = store.read("state", first, first + 9), store.read("action", first, first + 9)
    assert np.array_equal(shown.frames["control"][0], [task.draw(state) for state in states])
    place = task.teleport(states[shown.change], np.random.default_rng((0, first)))
    for t in range(shown.change, 9):
        assert np.array_equal(shown.frames["teleport"][0, t], task.draw(place))
        place = task.advance(place, actions[t].astype(np.float64))
    assert not task.varied


class Place:
    """Predicts what it is told, of latents that are whatever number a frame has in its corner."""

    context = C

    def arrivals(self, context: Any, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        return (context.z[:, -1] + plans[:, 0, 0, :1])[:, None, None]


def synthetic(monkeypatch: pytest.MonkeyPatch, jumps: dict[str, float]) -> dict[str, Any]:
    """Measure a model that predicts perfectly on clips that count up, and jump by so much at the change."""
    n, T, change = 24, C + BEFORE + 1 + AFTER, C + BEFORE
    noise = np.random.default_rng(0).normal(0, 0.01, (n, T))
    counted = np.tile(np.arange(T, dtype=float), (n, 1)) + noise
    versions = {"control": counted}
    versions |= {name: counted + jump * (np.arange(T) >= change) for name, jump in jumps.items()}
    frames = {name: x[..., None, None, None] for name, x in versions.items()}
    shown = Clips(
        frames=frames, actions=np.ones((n, T - 1, 1), np.float32), episode=np.arange(n) // 2, row=np.arange(n),
        change=change,
    )  # fmt: skip
    monkeypatch.setattr(surprise, "encoded", lambda model, x: torch.from_numpy(x.reshape(-1, 1)))
    model: Any = SimpleNamespace(
        config=SimpleNamespace(context=C, action_block=F),
        device=torch.device("cpu"),
        predictors=("place",),
        predictor=lambda name: Place(),
        normalise=lambda actions: actions,
    )
    return measure(model, shown, seed=0)


def test_a_jump_is_seen_when_it_happens_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    values = synthetic(monkeypatch, {"colour": 0.0, "teleport": 3.0})
    assert values["steps"] == [-3, -2, -1, 0, 1, 2, 3, 4] and values["env_steps"][-1] == 4 * F
    assert (values["n_clips"], values["n_episodes"]) == (24, 12)
    found = values["predictors"]["place"]
    assert max(found["control"]["curve"]) < 0.01
    teleport, colour = found["teleport"], found["colour"]
    assert teleport["difference"] == pytest.approx(9, abs=0.1) and teleport["low"] <= teleport["difference"]
    assert teleport["p"] == pytest.approx(2**-23) and teleport["stands_out"] == 1 and teleport["verdict"] == "seen"
    assert teleport["after_difference"] == pytest.approx(0, abs=1e-9)
    assert np.argmax(teleport["curve"]) == 3 and teleport["curve"][3] == pytest.approx(9, abs=0.1)
    assert colour["difference"] == 0 and colour["p"] == 1 and colour["verdict"] == "not seen"
    assert [row[-1] for row in surprise.rows(values)[1:-1]] == ["not seen", "seen"]


def test_a_small_change_is_significant_and_hardly_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = synthetic(monkeypatch, {"teleport": 0.023})["predictors"]["place"]["teleport"]
    assert found["p"] < 0.01 and found["stands_out"] < 0.5 and found["verdict"] == "hardly seen"


def test_the_command_prints_a_table_and_writes_numbers(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "run" / "model", tiny(), env="two-room")
    line = f"wm-bench surprise --model {tmp_path / 'run'} --dataset {dataset} --clips 6"
    monkeypatch.setattr(sys, "argv", line.split())
    bench.main()
    out = capsys.readouterr().out
    assert "one-step" in out and "prefix" in out and "teleport" in out and "seen" in out
    values = json.loads((tmp_path / "run" / "evaluation" / "surprise.json").read_text())
    assert (values["diagnostic"], values["n_clips"], values["n_episodes"]) == ("surprise", 6, 3)
    for found in values["predictors"].values():
        assert {len(x["curve"]) for x in found.values()} == {len(values["steps"])}


def test_what_cannot_be_put_into_a_state_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame", reason="needs the extra gym")
    save_model(tmp_path / "run" / "model", tiny("gym/CartPole-v1"), env="gym/CartPole-v1")
    episode = {"pixels": np.zeros((9, 16, 16, 3), np.uint8), "action": np.zeros((9, 2), np.float32), "split": 2}
    data = write_store(tmp_path / "c.h5", [episode], {"env": "gym/CartPole-v1"})
    monkeypatch.setattr(sys, "argv", f"wm-bench surprise --model {tmp_path / 'run'} --dataset {data}".split())
    with pytest.raises(SystemExit) as stop:
        bench.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and "gym/CartPole-v1 cannot be put into a state" in said


def test_wrong_numbers_of_clips(store: EpisodeStore, task: Any) -> None:
    with pytest.raises(BadValue, match="clips: expected 1 or more, got 0"):
        clips(store, task, C, F, 0, 0)
