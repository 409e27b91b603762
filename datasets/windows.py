"""Windows of equally spaced rows, drawn by index; none crosses an episode's end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.store import SPLITS, EpisodeStore, split_number
from worldmodel.datasets.stream import FrameStream, frames_of
from worldmodel.errors import BadFile, BadValue, UnknownName


def _concatenated(values: np.ndarray) -> np.ndarray:
    B, steps, F, a = values.shape
    return values.reshape(B, steps, F * a)


# Columns of what happens between two frames, and how F rows (B, T-1, F, ...) become one.
_BETWEEN: dict[str, Callable[[np.ndarray], Any]] = {
    "action": _concatenated,
    "reward": lambda values: values.mean(axis=2),
    "terminated": lambda values: values.any(axis=2),
}


class Windows:
    """All windows of ``length`` rows, ``stride`` apart, in the episodes of one split.

    A window starts at row s of an episode and reads the rows s, s + F, ..., s + (T-1) F, so an episode of L rows holds
    L - (T-1) F of them. Between two rows lie F primitive actions; they are concatenated, first action first.
    Pictures are decoded once into a memory-mapped cache or, where that would take more than half of the memory or of
    the free disk, read from the file for every batch; everything else is read into memory.

    Args:
        store: the dataset; it may be closed afterwards.
        split: 0 or "train", 1 or "validation", 2 or "test".
        length: T, rows (model steps) in a window.
        stride: F, environment steps between two rows; equals the action block.
        columns: what `batch` returns.
        cache: decode pictures once (True) or read them for every batch (False); by default, whichever fits.
        progress: called with (rows decoded, rows) while a cache is being made.
        cut: only those windows which the end of their episode keeps from being a row longer.

    Attributes:
        starts: (M,) int64, the row in the store at which each window starts.

    Raises:
        BadValue: length or stride below 1, or no episode of the split is long enough.
        UnknownName: the store has no such column, or there is no such split.
    """

    def __init__(
        self,
        store: EpisodeStore,
        split: int | str = 0,
        length: int = 2,
        stride: int = 1,
        columns: Iterable[str] = ("pixels", "action"),
        cache: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        cut: bool = False,
    ) -> None:
        for name, value in (("length", length), ("stride", stride)):
            if value < 1:
                raise BadValue(f"window {name}: expected at least 1, got {value}")
        self.length, self.stride, self.columns = length, stride, tuple(columns)
        for name in self.columns:
            if name not in store.columns:
                raise UnknownName(f"column in {store.path}", name, store.columns)

        span = (length - 1) * stride
        chosen = store.episodes(split)
        valid = np.maximum(store.lengths[chosen] - span, 0)
        if not valid.sum():
            longest = int(store.lengths[chosen].max(initial=0))
            raise BadValue(
                f"{store.path}: no {SPLITS[split_number(split)]} episode has the {span + 1} rows that {length} frames "
                f"{stride} apart need (the longest of {len(chosen)} has {longest})"
            )
        within = np.arange(valid.sum()) - np.repeat(np.cumsum(valid) - valid, valid)
        self.starts = np.repeat(store.offsets[chosen], valid) + within
        self._last = np.repeat(store.offsets[chosen] + store.lengths[chosen] - 1, valid)  # row of its episode
        if cut:
            short = within >= np.repeat(valid - stride, valid)
            self.starts, self._last = self.starts[short], self._last[short]
        self._data: dict[str, np.ndarray] = {}
        self._frames: dict[str, FrameCache | FrameStream] = {}
        for name in self.columns:
            if len(store.columns[name][0]) != 4:
                self._data[name] = store.read(name, 0, store.rows)
            else:
                self._frames[name] = frames_of(store, name, cache, progress)
        self._frame_rows = np.arange(length) * stride
        self._action_rows = np.arange(span)

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Gather windows.

        Args:
            indices: (B,) integers in [0, len(self)).

        Returns:
            column -> (B, T, ...) in the store's dtype, such as pixels (B, T, S, S, 3) uint8;
            action (B, T-1, F*a) float32 in raw environment units;
            reward (B, T-1) float32, the mean of those received on the way from one frame to the next;
            terminated (B, T-1) bool, whether the episode ended on the way.
        """
        frames = self.frame_rows(indices)
        batch = {name: pictures.gather(frames) for name, pictures in self._frames.items()}
        for name, data in self._data.items():
            if name in _BETWEEN:
                rows = frames[:, :1] + self._action_rows + (name != "action")  # the others are noted on arriving
                values = np.take(data, rows, axis=0)
                values = values.reshape(len(frames), self.length - 1, self.stride, *data.shape[1:])
                batch[name] = _BETWEEN[name](values)
            else:
                batch[name] = np.take(data, frames, axis=0)
        return batch

    def frame_rows(self, indices: np.ndarray) -> np.ndarray:
        """Rows of the store that hold the frames of windows: (B,) -> (B, T)."""
        rows: np.ndarray = self.starts[np.asarray(indices)][:, None] + self._frame_rows
        return rows

    def later_rows(self, indices: np.ndarray, frame: int, steps: np.ndarray) -> np.ndarray:
        """Rows so many environment steps (B,) after a frame of windows, or where their episodes end: (B,) -> (B,)."""
        rows: np.ndarray = np.minimum(self.frame_rows(indices)[:, frame] + steps, self._last[np.asarray(indices)])
        return rows


def action_statistics(store: EpisodeStore, split: int | str | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean (a,) and standard deviation (a,), float64, of the primitive actions of one split, or of all (None).

    An episode's last action is NaN and left out.

    Raises:
        BadFile: there is no action.
    """
    chosen = np.isin(np.repeat(np.arange(len(store)), store.lengths), store.episodes(split))
    actions = store.read("action", 0, store.rows)[chosen].astype(np.float64)
    actions = actions[np.isfinite(actions).all(axis=1)]
    if not len(actions):
        where = "file" if split is None else f"{SPLITS[split_number(split)]} split"
        raise BadFile(f"{store.path}: the {where} holds no action")
    return np.asarray(actions.mean(axis=0)), np.asarray(actions.std(axis=0))


def reward_scale(store: EpisodeStore) -> float:
    """Root mean square of the rewards to train on; 1 where there are none but zeros.

    Raises:
        BadFile: the store has no rewards, or some that are missing or not finite.
    """
    if missing := {"reward", "terminated"} - set(store.columns):
        raise BadFile(f"{store.path} has no column {min(missing)!r}, from which the heads reward and value learn")
    chosen = np.isin(np.repeat(np.arange(len(store)), store.lengths), store.episodes("train"))
    chosen[store.offsets] = False  # nothing was received before the first row
    rewards = store.read("reward", 0, store.rows)[chosen].astype(np.float64)
    if not np.isfinite(rewards).all():
        raise BadFile(f"{store.path}: column 'reward' has numbers that are not finite; wm-data verify says where")
    return float(np.sqrt(np.square(rewards).mean())) if rewards.any() else 1.0


def action_bounds(store: EpisodeStore) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest primitive action, (a,) float32 each: the environment's, else the extremes of the data."""
    if "action_low" in store.attrs:
        low, high = store.attrs["action_low"], store.attrs["action_high"]
        return np.asarray(low, np.float32), np.asarray(high, np.float32)
    actions = store.read("action", 0, store.rows)
    return np.nanmin(actions, axis=0), np.nanmax(actions, axis=0)
