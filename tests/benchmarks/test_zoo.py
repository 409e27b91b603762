"""Every shipped model keeps what its card promises; a new folder in the zoo is tested for free."""

from __future__ import annotations

import re
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest

from worldmodel import shipped
from worldmodel.benchmarks import card
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import load_pairs
from worldmodel.checkpoint import load_model, read_about
from worldmodel.cli.shipping import FEWEST_PAIRS, MOST_BYTES
from worldmodel.envs.registry import file_name, make
from worldmodel.files import read_json

MOST_IN_WHEEL = 8_000_000  # bytes, compressed as there
FOLDERS = sorted(path for path in shipped.ZOO.iterdir() if path.is_dir())
every = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_the_zoo_is_found_by_task() -> None:
    found = shipped.models()
    assert sorted(found.values()) == FOLDERS and "two-room" in found
    assert all(folder.name == file_name(env) for env, folder in found.items())


@every
def test_the_card_is_what_the_json_files_say(folder: Path) -> None:
    assert (folder / shipped.CARD).read_text() == card.render(folder)


@every
def test_every_result_is_of_these_weights(folder: Path) -> None:
    weights, about = folder / "model.safetensors", read_about(folder)
    assert weights.stat().st_size <= MOST_BYTES and about["precision"] == "bf16"
    results = [read_json(file) for file in (folder / shipped.RESULTS).glob("*.json")]
    assert {r["model"]["fingerprint"] for r in results} == {file_fingerprint(weights)}
    main, pairs = shipped.result(folder), load_pairs(folder / shipped.PAIRS)
    assert main["protocol"]["changed"] == [] and main["n"] == len(pairs) >= FEWEST_PAIRS
    assert main["manifest"] == {"sha256": pairs.sha256, "dataset": pairs.dataset}
    learned = about["dataset"]
    of_its_own = pairs.dataset == learned["fingerprint"] and pairs.split == "test"
    assert of_its_own or pairs.dataset not in (learned["fingerprint"], *learned["before"])
    assert {r["env"] for r in results} == {about["env"], pairs.env}
    for r in results:
        assert r["low"] <= r["success"] <= r["high"] and {"random", "noop"} <= r.keys()


@every
def test_nothing_names_a_folder_of_another_machine(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".yaml", ".md"):
            assert (
                re.findall(r"(?<![\w./:])/\w[\w.+-]*/\S*|/home|/root|/tmp|/Users|~/|\.\./", file.read_text()) == []
            ), file


@every
def test_it_plans(folder: Path) -> None:
    env = read_about(folder)["env"]
    if "/" in env:
        pytest.importorskip("mujoco", reason="needs the extra mujoco")
    model, pairs = load_model(folder), load_pairs(folder / shipped.PAIRS)
    size, look = model.config.image_size, model.about["render_preset"]
    task = make(env, image_size=size, render_preset=look, terminate_on_success=False)
    seen, _ = task.reset(seed=0, options=pairs.options(0))
    agent, state = model.agent(task, candidates=8, elites=2, iterations=1, goal_offset=pairs.offset), None
    for _ in range(6):
        action, state = agent.predict(seen, state)
        assert task.action_space.contains(action) and np.isfinite(action).all()
        seen, *_ = task.step(action)
    task.close()


def test_the_wheel_holds_little_of_it() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("pyproject.toml is in the checkout only, and this run has the tests alone")
    package = project.parent / "worldmodel"
    patterns = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]["worldmodel"]
    files = {file for pattern in patterns if pattern.startswith("zoo/") for file in package.glob(pattern)}
    assert package / "zoo" / "two-room" / "results" / "lewm-25-prefix.json" in files
    assert sum(len(zlib.compress(file.read_bytes())) for file in files if file.is_file()) <= MOST_IN_WHEEL
