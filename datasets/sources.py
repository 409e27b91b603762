"""What a reader of other people's data hands over, and how its episodes become ours (the columns of store.py).

A reader is a function of a path (one file, ``read_*.py``, for each format) which returns a `Source`. Its episodes are
dicts of columns under their own names. A column has one value for each of the episode's R rows, or one for all of them.
Only these names mean something:

    pixels       frames, uint8 (height, width, 3 or 1) or (height, width): an array, or an iterator decoding one by one
    action       (R, a) or (R-1, a), or without axis when a is 1: taken AT the row; that on the last row leads nowhere
                 and becomes NaN
    reward, terminated, truncated
                 (R,): on arriving at the row; or (R-1,): of the step that leads to the next row
    state        (R, ...), or else qpos and qvel, or else observation, which stay under their own names too
    split        0, 1 or 2, when the source has splits
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple
from zipfile import BadZipFile

import cv2
import numpy as np

from worldmodel.errors import BadFile, BadValue

NPZ_ERRORS = (  # what is raised on a damaged npz file, whose arrays begin with a line of Python
    OSError, RuntimeError, ValueError, EOFError, MemoryError, SyntaxError, TokenError, BadZipFile, zlib.error,
)  # fmt: skip
_COUNTERS = ("step_idx", "episode_idx", "ep_idx", "ep_len", "ep_offset")  # written anew
_BEFORE_FIRST = {"reward": np.nan, "terminated": False, "truncated": False}  # nothing was received before the first row


class Source(NamedTuple):
    """A dataset of another format, opened.

    Attributes:
        attrs: what it says of itself, such as ``env``, ``action_low`` and ``action_high``.
        total: how many episodes.
        episodes: reads them one after another.
    """

    attrs: dict[str, Any]
    total: int
    episodes: Iterator[dict[str, Any]]


@contextmanager
def reading(what: object, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a library raises on a damaged file into one line: ``<what> is damaged``."""
    try:
        yield
    except errors as error:
        raise BadFile(f"{what} is damaged: {' '.join(str(error).split()) or type(error).__name__}") from error


def our_columns(
    episode: Mapping[str, Any], env: str, image_size: int | None, task: Any = None, redraw: bool = False
) -> dict[str, Any]:
    """Turn a reader's episode into one that `StoreWriter.append` takes.

    Columns that are neither numbers nor booleans are left out, and so are pictures other than ``pixels``.

    Args:
        episode: see the head of this file.
        env: short name of the task; ``pusht`` and ``two-room`` have their states translated.
        image_size: side of the pictures; None leaves them as they are.
        task: the task itself, made for ``observation="state"``; None where nothing here simulates it.
        redraw: let the task draw its states instead of taking the source's pictures.

    Raises:
        BadValue: no states to redraw, no action, actions that are not real numbers, pictures that are not square, or an
            unknown split; the column is named.
    """
    kept = {name.replace("/", "_").replace(".", "_"): value for name, value in episode.items() if name != "pixels"}
    arrays = {name: np.asarray(value) for name, value in kept.items() if name not in _COUNTERS}
    arrays = {name: a for name, a in arrays.items() if (a.dtype.kind in "biuf" and a.ndim < 4) or name == "policy"}
    if "pixels" in episode and not redraw:
        arrays["pixels"] = _pictures(episode["pixels"], image_size)
    rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    if "split" in arrays and not np.isin(arrays["split"], (0, 1, 2)).all():
        raise BadValue("column 'split' holds values other than 0, 1 and 2")
    state = _simulated(arrays, task) if hasattr(task, "state_of") else _STATES.get(env, _state)(arrays)
    if state is not None:
        arrays["state"] = state.reshape(len(state), -1).astype(np.float64)
    if redraw:
        if state is None or not getattr(task, "restorable", False) or arrays["state"].shape[1] != task.state_dim:
            raise BadValue(f"redraw: its states are not known to {env}")
        if any(name.startswith("variation") for name in arrays):
            raise BadValue("redraw: its worlds are varied, and would be drawn as if they were not")
        arrays["pixels"] = np.stack([task.draw(row) for row in arrays["state"]])
    for name, value in _BEFORE_FIRST.items():
        if name in arrays and arrays[name].shape == (rows - 1,):
            arrays[name] = np.concatenate([[value], arrays[name]])
    arrays["action"] = _actions(arrays, rows)
    return arrays


def _actions(arrays: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """Actions (rows, a) float32, NaN on the last row and on no other."""
    if "action" not in arrays:
        raise BadValue(f"there is no column 'action' of numbers, only {', '.join(sorted(arrays)) or 'text'}")
    action = arrays["action"]
    action = action[:, None] if action.ndim == 1 else action
    if action.dtype.kind != "f" or action.ndim != 2:
        raise BadValue(f"column 'action' must hold real numbers (rows, a), not {action.dtype} {action.shape}")
    if len(action) not in (rows, rows - 1):
        raise BadValue(f"column 'action' has {len(action)} rows, the others {rows}")
    action = np.concatenate([action[: rows - 1], np.full((1, action.shape[1]), np.nan)]).astype(np.float32)
    finite = np.isfinite(action[:-1]).all(axis=1)
    if not finite.all():
        raise BadValue(f"column 'action' is not finite at step {int(np.argmin(finite))}")
    return action


def _pictures(frames: Any, size: int | None) -> np.ndarray:
    fitted = (fit(frame, size) for frame in frames)
    first = list(islice(fitted, 1))
    return np.stack([*first, *fitted]) if first else np.empty((0, 0, 0, 3), np.uint8)


def fit(frame: np.ndarray, size: int | None) -> np.ndarray:
    """Return a picture as (S, S, 3) uint8: grey becomes colour, what is not square is padded with black on both sides.

    Args:
        frame: (height, width), (height, width, 1) or (height, width, 3) uint8.
        size: S; the picture is scaled by averaging (``cv2.INTER_AREA``). None keeps a square picture as it is.

    Raises:
        BadValue: of another shape or type, or not square and no size given.
    """
    frame = frame[..., None] if frame.ndim == 2 else frame
    if frame.ndim != 3 or frame.shape[2] not in (1, 3) or frame.dtype != np.uint8:
        raise BadValue(f"column 'pixels' must hold uint8 (height, width, 3) pictures, not {frame.dtype} {frame.shape}")
    if frame.shape[2] == 1:
        frame = np.repeat(frame, 3, axis=2)
    height, width = frame.shape[:2]
    if size is None or (height, width) == (size, size):
        if height != width:
            raise BadValue(f"image_size: pictures of {height} x {width} are not square, give a size to pad them to")
        return frame
    down, right = max(width - height, 0), max(height - width, 0)
    if down or right:
        border = (down // 2, down - down // 2, right // 2, right - right // 2)
        frame = cv2.copyMakeBorder(frame, *border, cv2.BORDER_CONSTANT)
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)


def _state(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if "state" in arrays:
        return arrays["state"]
    if "qpos" in arrays and "qvel" in arrays:
        return np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in ("qpos", "qvel")], axis=1)
    return arrays.get("observation")


def _simulated(arrays: Mapping[str, np.ndarray], task: Any) -> np.ndarray | None:
    """The states of a MuJoCo task, from the positions and velocities that others record."""
    if "state" in arrays and arrays["state"].shape[1:] == (task.state_dim,):
        return arrays["state"]  # our own, which tell more
    names = [name for name in ("qpos", "qvel", "button_states") if name in arrays]
    fits = names[:2] == ["qpos", "qvel"] and arrays["qpos"].shape[1:] == (task.model.nq,)
    if not fits or arrays["qvel"].shape[1:] != (task.model.nv,):
        return _state(arrays)
    rows = zip(*(arrays[name].astype(np.float64) for name in names))
    return np.stack([task.state_of(*row) for row in rows])


def _pusht_state(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Agent xy, block xy, angle and, in 7 numbers, the agent's velocity; the block's is not recorded and taken as 0."""
    state = _state(arrays)
    if state is None or state.ndim != 2 or state.shape[1] not in (5, 7):
        return state
    return np.pad(state, ((0, 0), (0, 10 - state.shape[1])))


def _two_room_state(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The agent's place: alone in pos_agent, proprio and newer states; first of ten numbers in an observation."""
    for name in ("pos_agent", "proprio", "state", "observation"):
        if name in arrays and arrays[name].ndim == 2:
            return arrays[name][:, :2]
    return None


_STATES: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray | None]] = {
    "pusht": _pusht_state,
    "two-room": _two_room_state,
}


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that match a pattern, in the order of their names; hidden ones are left out."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
