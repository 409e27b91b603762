"""What a picture shows of the states that a dataset recorded: the numbers that probes try to read from a latent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.errors import WorldModelError

if TYPE_CHECKING:
    from worldmodel.datasets.store import EpisodeStore

MOST = 32  # numbers in a row of a column whose meaning is not known
# One picture shows neither velocities nor the time; state_<i> is what MuJoCo or powderworld keep besides a pose.
_UNSEEN = re.compile(r".*(qvel|velocity|omega|time).*|.*_v[xyz]|state_\d+")
_HINGE = 3  # mujoco.mjtJoint.mjJNT_HINGE


def shown_numbers(store: EpisodeStore, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Read what the pictures of some rows show, name -> (M,) float64.

    Of a task that is made here: its pose, every angle as its sine and cosine. Of others: all columns of few real
    numbers but action and reward. Velocities and times are left out.

    Args:
        store: the dataset.
        rows: (M,) int64.
    """
    return dict(_pose(store, rows)) or dict(_columns(store, rows))


def varies(x: np.ndarray) -> bool:
    """Whether a number (M,) is never missing and not always the same."""
    return bool(np.isfinite(x).all() and x.std() > 1e-6)


def _pose(store: EpisodeStore, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What is named of a known task's state, without what cannot be seen; nothing of other tasks."""
    from worldmodel.envs.registry import make, names

    if store.env not in names() or "state" not in store.columns:
        return
    with suppress(WorldModelError):  # its extra is not installed
        task = make(store.env, observation="state").unwrapped
        if store.columns["state"][0][1:] == (task.state_dim,):
            joints = getattr(task, "model", None)  # of MuJoCo
            hinges = [] if joints is None else joints.jnt_qposadr[joints.jnt_type == _HINGE].tolist()
            for name, x in zip(task.state_names, _read(store, "state", rows).T):
                if _UNSEEN.fullmatch(name):
                    continue
                if name.endswith("_angle") or name in [f"qpos_{i}" for i in hinges]:
                    yield from ((f"{name}_sin", np.sin(x)), (f"{name}_cos", np.cos(x)))
                else:
                    yield name, x


def _columns(store: EpisodeStore, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for column, (shape, dtype) in store.columns.items():
        few = len(shape) == 1 or (len(shape) == 2 and shape[1] <= MOST)
        if few and dtype.kind == "f" and column not in ("action", "reward") and not _UNSEEN.fullmatch(column):
            values = _read(store, column, rows).reshape(len(rows), -1)
            for i, x in enumerate(values.T):
                yield (f"{column}_{i}" if values.shape[1] > 1 else column), x


def _read(store: EpisodeStore, column: str, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([store.read(column, row, row + 1) for row in rows.tolist()]).astype(np.float64)
