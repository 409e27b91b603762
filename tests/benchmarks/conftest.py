"""A small TwoRoom dataset and an untrained model on it, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.store import EpisodeStore, write_store
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
