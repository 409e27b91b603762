"""A small TwoRoom dataset and untrained models on it, made once, and a folder to run commands in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.tiny import tiny
from worldmodel.checkpoint import save_model
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.windows import action_statistics
from worldmodel.envs import registry

SIZE, STEPS = 16, 60
SPLITS = (0, 0, 1, 2, 2, 2)


def wander(number: int) -> dict:
    """One episode of straight walks, each for ten steps."""
    rng = np.random.default_rng(number)
    env = registry.make("two-room", image_size=SIZE, terminate_on_success=False)
    obs, info = env.reset(seed=number)
    pixels, states, actions, rewards = [obs["pixels"]], [info["state"]], [], [np.nan]
    for step in range(STEPS):
        if step % 10 == 0:
            action = rng.uniform(-1, 1, 2).astype(np.float32)
        obs, reward, _, _, info = env.step(action)
        pixels.append(obs["pixels"])
        states.append(info["state"])
        actions.append(action)
        rewards.append(reward)
    actions.append(np.full(2, np.nan, np.float32))
    columns = {"pixels": pixels, "state": states, "action": actions, "reward": rewards}
    columns["terminated"] = [False] * len(pixels)
    return {name: np.stack(values) for name, values in columns.items()}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("two-room") / "two-room.h5"
    episodes = ({**wander(i), "split": split} for i, split in enumerate(SPLITS))
    return write_store(path, episodes, {"env": "two-room", "image_size": SIZE})


@pytest.fixture
def store(dataset):
    with EpisodeStore(dataset) as opened:
        yield opened


@pytest.fixture
def task():
    return registry.make("two-room").unwrapped


@pytest.fixture(scope="session")
def workplace(dataset, tmp_path_factory) -> Path:
    """A folder with data/ and runs/ as training leaves them; tests only add to it."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "data").mkdir()
    shutil.copy(dataset, folder / "data" / "two-room.h5")
    model = tiny()
    with EpisodeStore(dataset) as store:
        model.set_actions(*action_statistics(store), -1, 1)
        about = {"path": "data/two-room.h5", "fingerprint": store.fingerprint}
    save_model(folder / "runs" / "two-room" / "model", model, env="two-room", dataset=about)
    save_model(folder / "others" / "pusht" / "model", tiny("pusht"), env="pusht")
    save_model(folder / "others" / "large" / "model", tiny(image_size=24), env="two-room")
    save_model(folder / "others" / "one" / "model", tiny(prefix=False), env="two-room")
    save_model(folder / "others" / "heads" / "model", tiny(heads=8), env="two-room")
    (folder / "others" / "unfinished").mkdir()
    whole = dataset.read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "text.h5").write_text("not HDF5")
    episode = {"pixels": np.zeros((9, 16, 16, 3), np.uint8), "action": np.zeros((9, 2), np.float32), "split": 2}
    write_store(folder / "pusht.h5", [episode], {"env": "pusht"})
    return folder


@pytest.fixture
def command(workplace, monkeypatch, capsys):
    """Run a command there; return exit code, stdout and stderr."""
    monkeypatch.chdir(workplace)

    def call(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["wm-plan", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call
