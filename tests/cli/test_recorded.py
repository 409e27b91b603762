"""The numbers that probes read: poses of known tasks, small columns of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.cli.recorded import shown_numbers, varies
from worldmodel.datasets.store import EpisodeStore, write_store

ROWS = np.array([0, 3, 4, 11])


def store_of(path: Path, env: str, **columns: Any) -> EpisodeStore:
    made = [episode(i, 10) | {name: np.array(x[10 * i : 10 * i + 10]) for name, x in columns.items()} for i in (0, 1)]
    return EpisodeStore(write_store(path / "made.h5", made, {"env": env}))


def recorded_numbers(store: EpisodeStore, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Those that are there and vary."""
    return {name: x for name, x in shown_numbers(store, rows).items() if varies(x)}


def test_angles_of_a_known_task_are_turned_and_velocities_left_out(tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(20, 10))
    states[:, 1] = 7.0  # never changes
    found = recorded_numbers(store_of(tmp_path, "pusht", state=states, other=states), ROWS)
    assert list(found) == ["agent_x", "block_x", "block_y", "block_angle_sin", "block_angle_cos"]
    np.testing.assert_array_equal(found["block_x"], states[ROWS, 2])
    np.testing.assert_array_equal(found["block_angle_cos"], np.cos(states[ROWS, 4]))


def test_hinges_of_mujoco_are_angles(tmp_path: Path) -> None:
    pytest.importorskip("dm_control", reason="needs the extra mujoco")
    states = np.random.default_rng(0).normal(size=(20, 36))
    found = recorded_numbers(store_of(tmp_path, "dmc/reacher-qpos", state=states), ROWS)
    assert list(found) == ["qpos_0_sin", "qpos_0_cos", "qpos_1_sin", "qpos_1_cos"]
    np.testing.assert_array_equal(found["qpos_0_sin"], np.sin(states[ROWS, 1]))  # after the time


@pytest.mark.parametrize("env", ["robot", "pusht"])  # pusht with states of somebody else's
def test_of_other_tasks_small_columns_of_real_numbers_are_taken(env: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 40))
    holes = x[:, 0].copy()
    holes[4] = np.nan
    columns = {"state": x[:, :2], "grip": x[:, 2], "holes": holes, "many": x, "qvel": x[:, :2], "timestamp": x[:, 3]}
    found = recorded_numbers(store_of(tmp_path, env, **columns), ROWS)
    assert sorted(found) == ["grip", "state_0", "state_1"]
    np.testing.assert_array_equal(found["state_1"], x[ROWS, 1])
