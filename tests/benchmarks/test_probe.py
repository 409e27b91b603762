"""Probes with controls: scores against slow twins, and who knows what."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks.test_plan import tiny
from worldmodel.benchmarks import probe
from worldmodel.benchmarks.probe import FLOOR, NAMED, controls, measure, numbers, rows, scores, sums
from worldmodel.checkpoint import save_model
from worldmodel.cli import bench
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.errors import BadFile, BadValue
from worldmodel.probes import explained


def test_scores_from_sums_are_those_of_all_samples() -> None:
    rng = np.random.default_rng(0)
    truth, owner = rng.normal(size=(200, 3)), rng.integers(5, size=200)
    guess = truth * [1.0, 0.5, -0.2] + rng.normal(0, 0.3, (200, 3)) + 0.1
    r2, mse, r = scores(sums(truth, guess, owner).sum(axis=0))
    assert r2 == pytest.approx(explained(torch.from_numpy(guess), torch.from_numpy(truth)).numpy())
    assert mse == pytest.approx(((guess - truth) ** 2).mean(axis=0))
    assert r == pytest.approx([np.corrcoef(guess[:, i], truth[:, i])[0, 1] for i in range(3)])
    each = scores(sums(truth, guess, owner))[1]
    assert each[4] == pytest.approx(((guess - truth)[owner == 4] ** 2).mean(axis=0))


def test_of_a_constant_truth_nothing_is_said() -> None:
    truth, guess = np.ones((4, 1)), np.random.default_rng(0).normal(size=(4, 1))
    r2, mse, r = scores(sums(truth, guess, np.zeros(4)).sum(axis=0))
    assert np.isnan(r2).all() and np.isnan(r).all() and np.isfinite(mse).all()


def test_pixels_know_where_a_large_agent_is_and_a_model_that_sees_nothing_does_not(store: EpisodeStore) -> None:
    model = tiny()
    with torch.no_grad():
        model.projector[-1].weight.zero_()
    with torch.inference_mode():
        values = measure(model.eval(), store, 100, 120)
    assert values["numbers"] == ["agent_x", "agent_y"] and values["left_out"] == []
    assert (values["n_fit"], values["n_frames"], values["n_episodes"]) == (100, 120, 3)
    for kind in ("linear", "mlp"):
        found = values[kind]
        assert found["latent"]["mean"]["r2"] < 0.05
        for name in ("pixels", "random"):
            mean = found[name]["mean"]
            assert mean["low"] <= mean["r2"] <= mean["high"]
            assert mean["r2"] == pytest.approx(np.maximum(found[name]["r2"], FLOOR).mean())
            gap = mean["r2"] - found["latent"]["mean"]["r2"]
            assert found["latent"][f"over_{name}"]["r2"] == pytest.approx(-gap)
        assert found["latent"]["over_pixels"]["r2"] < -0.1
    json.loads(json.dumps(values, allow_nan=False))


def test_the_same_seed_gives_the_same_numbers_and_draws_from_no_global_generator(store: EpisodeStore) -> None:
    model, before = tiny().eval(), torch.get_rng_state()
    with torch.inference_mode():
        assert measure(model, store, 60, 60, seed=3) == measure(model, store, 60, 60, seed=3)
    before_too = torch.get_rng_state()
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    with torch.inference_mode():
        found = controls(model, frames)
    assert [found[name][0].shape for name in ("pixels", "random")] == [(3, 192), (3, 8)]
    assert torch.equal(before_too, torch.get_rng_state()) and before.shape == before_too.shape


def test_numbers_that_never_vary_are_left_out_and_said(dataset: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = []
    for split in (0, 0, 2):
        columns = {"pixels": rng.integers(0, 255, (20, 16, 16, 3), np.uint8), "grip": rng.normal(size=20)}
        columns |= {"action": np.zeros((20, 2), np.float32), "still": np.ones(20), "some": np.full(20, 0.5 + split)}
        made.append({**columns, "split": split})
    with EpisodeStore(write_store(tmp_path / "made.h5", made, {"env": "robot", "image_size": 16})) as store:
        found = numbers(store, np.arange(40), np.arange(40, 60))
        assert found.names == ("grip",) and found.left_out == ("some", "still")
        assert (found.known.shape, found.unknown.shape) == ((40, 1), (20, 1))
        with torch.inference_mode(), pytest.raises(BadValue, match="2 or more"):
            measure(tiny(), store, 1, 20)
    made = [{name: x for name, x in each.items() if name not in ("grip", "some")} for each in made]
    path = write_store(tmp_path / "none.h5", made, {"env": "robot", "image_size": 16})
    with EpisodeStore(path) as store, torch.inference_mode(), pytest.raises(BadFile, match="no number of the state"):
        measure(tiny(), store, 40, 20)


def test_a_long_table_shows_the_best_and_the_worst() -> None:
    n = 40
    space = {key: list(np.linspace(0, 1, n)) for key in ("r2", "mse", "r")}
    mean = {"r2": 0.5, "low": 0.4, "high": 0.6, "mse": 0.1, "r": 0.7}
    kind = {name: {**space, "mean": mean} for name in ("latent", "pixels", "random")}
    table = rows({"numbers": [f"q{i}" for i in range(n)], "linear": kind, "mlp": kind})
    assert [row[0] for row in table[1 : NAMED + 1]] == [f"q{i}" for i in [*range(39, 31, -1), *range(7, -1, -1)]]
    assert table[-2][0] == "mean of 40" and len({len(row) for row in table}) == 1
    assert table[-1][1] == "0.400-0.600"


def test_the_command_prints_a_table_and_writes_numbers(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "run" / "model", tiny(), env="two-room")
    line = f"wm-bench probe --model {tmp_path / 'run'} --dataset {dataset} --fit 80 --frames 60"
    monkeypatch.setattr(sys, "argv", line.split())
    bench.main()
    out = capsys.readouterr().out
    assert "agent_x" in out and "mean of 2" in out and "untrained" in out
    values = json.loads((tmp_path / "run" / "evaluation" / "probe.json").read_text())
    assert values["diagnostic"] == "probe" and {"linear", "mlp", "numbers", "versions"} <= set(values)
    monkeypatch.setattr(sys, "argv", [*line.split(), "--split", "train"])
    with pytest.raises(SystemExit) as stop:
        bench.main()
    assert stop.value.code == 2 and "--split" in capsys.readouterr().err


def test_pixels_are_averages() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    small = probe._small(frames).view(2, 8, 8, 3)
    assert small[1, 2, 3].tolist() == pytest.approx(frames[1, 8:12, 12:16].mean(axis=(0, 1)).round().tolist(), abs=1)
