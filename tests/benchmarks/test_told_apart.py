"""The whole report on models with a flaw or a secret: the diagnostics name each of them."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import suspects
from tests.datasets.collecting import collect_here
from worldmodel.benchmarks import record
from worldmodel.benchmarks.findings import Finding
from worldmodel.benchmarks.verdict import verdict
from worldmodel.cli import bench, plan
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry

DIAGNOSES = ("openloop", "probe", "surprise", "geometry")
PLAN = "--episodes 40 --candidates 64 --elites 8 --iterations 5 --no-video"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EpisodeStore]:
    folder = tmp_path_factory.mktemp("two-room")
    with EpisodeStore(collect_here(folder / "two-room.h5", 200, steps=60, image_size=suspects.SIZE)) as store:
        yield store


@pytest.fixture(scope="module")
def runs(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Run folders, by what is wrong with the model, with everything that the commands leave there."""
    runs = suspects.make_all(store, tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldmodel.checkpoint.load_model", suspects.load)
        for run in runs.values():
            patch.setattr(sys, "argv", ["wm-plan", *PLAN.split(), "--model", str(run)])
            plan.main()
            for name in DIAGNOSES:
                patch.setattr(sys, "argv", ["wm-bench", name, "--model", str(run)])
                bench.main()
        yield runs


def judged(run: Path) -> list[Finding]:
    found = {name: json.loads((run / "evaluation" / f"{name}.json").read_text()) for name in DIAGNOSES}
    told = verdict(found, {folder.name: record.Record.load(folder) for folder in record.find(run)})
    return [*told.model, *(finding for these in told.evaluations.values() for finding in these)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "planning"),
    [
        ("untrained", "at the floor"),
        ("collapsed", "at the floor"),
        ("ignores the actions", "at the floor"),
        ("near-perfect", "solved"),
        ("predicts", "works in part"),
    ],
)
def test_each_is_named(runs: dict[str, Path], name: str, planning: str) -> None:
    first, *others = judged(runs[name])
    assert first.name == name and [finding.name for finding in others if finding.name == planning]


@pytest.mark.slow
def test_they_are_on_one_page(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "report.html"
    monkeypatch.setattr(sys, "argv", ["wm-bench", "report", *map(str, runs.values()), "--out", str(page)])
    bench.main()
    text = html.unescape(page.read_text())
    assert all(judged(run)[0].sentence in text for run in runs.values())


def test_the_oracle_knows_the_state_and_the_rules(store: EpisodeStore) -> None:
    oracle, task = suspects.oracle(store), registry.make("two-room", image_size=suspects.SIZE).unwrapped
    rng = np.random.default_rng(0)
    at_the_door = np.array([112.0, 49.0]) + rng.uniform(-25, 25, (300, 2))
    states = np.concatenate([at_the_door, [task.sample(rng) for _ in range(300)]])
    actions = rng.uniform(-1, 1, states.shape)
    expected = np.stack([task.advance(*row) for row in zip(states, actions)])
    found = oracle.simulator.advance(torch.from_numpy(states), torch.from_numpy(actions))
    np.testing.assert_array_equal(found.numpy(), expected)
    frames = torch.from_numpy(np.stack([task.draw(state) for state in states[300:]]))
    np.testing.assert_allclose(suspects.state(oracle.encode({"pixels": frames[None]}))[0], states[300:], atol=0.1)
