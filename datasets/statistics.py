"""What a dataset covers: its actions, the states visited, rows out of view, windows in which nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import CHUNK
from worldmodel.errors import BadFile

WINDOW = 25  # steps from the first row of a window to its last; the usual distance from start to goal
MOST_NUMBERS = 400  # of a row
MOST_ROWS, MOST_WINDOWS, MOST_VIEWS = 200_000, 400, 2_000  # looked at, evenly spaced: in arrays, in pictures, by calls
BINS, JOINT_BINS = 50, 20  # of one number, of each of two together
STILL_LEVELS, STILL_PIXELS = 16, 0.001  # a picture hardly changes: fewer than 1 in 1000 pixels by more than 16 of 255
STILL_STATE = 0.05  # a state hardly changes: no number by more than this share of its standard deviation


@dataclass(frozen=True)
class Spread:
    """Statistics of each number of a column, arrays (D,) float64.

    Attributes:
        mean: NaN where no value is finite, as in all of these.
        std: standard deviation.
        low: smallest value.
        high: largest value.
        at_ends: share of the rows that lie exactly at ``low`` or ``high``, where clipped actions pile up.
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_ends: np.ndarray


def sample(store: EpisodeStore) -> np.ndarray:
    """Return (N,) the rows of all episodes or, in a large dataset, of evenly spaced ones with about 200,000 rows."""
    step = -(-store.rows // MOST_ROWS)
    return np.flatnonzero(np.repeat(np.arange(len(store)) % step == 0, store.lengths))


def numbers(store: EpisodeStore, column: str, rows: np.ndarray) -> np.ndarray:
    """Read rows of a column as (N, D) float64; of very long rows, the first 400 numbers.

    Raises:
        BadFile: it holds no numbers, or is damaged.
    """
    shape, dtype = store.columns[column]
    if dtype.kind not in "fiub":
        raise BadFile(f"{store.path}: column {column!r} must hold numbers, not {dtype}")
    width = min(int(np.prod(shape[1:])), MOST_NUMBERS)
    return np.concatenate([block.reshape(len(block), -1)[:, :width] for block in _blocks(store, column, rows)])


def _blocks(store: EpisodeStore, column: str, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Read ascending rows of a column as float64, some of them at a time: a column may be larger than the memory."""
    for start in range(0, store.rows, CHUNK):
        stop = min(start + CHUNK, store.rows)
        here = rows[(rows >= start) & (rows < stop)]
        if len(here):
            yield store.read(column, start, stop)[here - start].astype(np.float64)


def spread(values: np.ndarray) -> Spread:
    """Measure (N, D) values; rows that are not finite (the last action of an episode) are left out."""
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return Spread(*np.full((5, values.shape[1]), np.nan))
    low, high = values.min(axis=0), values.max(axis=0)
    at_ends = ((values == low) | (values == high)).mean(axis=0)
    return Spread(values.mean(axis=0), values.std(axis=0), low, high, at_ends)


def occupancy(values: np.ndarray) -> tuple[float, float]:
    """Say how much of their own range (N,) or pairs of (N, 2) values visit, and how evenly.

    Returns:
        The share of equal bins between the smallest and the largest value (50, or 20 x 20) that hold a row; and the
        number of bins a uniform distribution of the same entropy would fill, as a share of all. Both are 1 for uniform
        values; a range that was never reached does not count against them.
    """
    values = values.reshape(len(values), -1)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values) or (np.ptp(values, axis=0) == 0).any():
        return float("nan"), float("nan")
    bins = BINS if values.shape[1] == 1 else JOINT_BINS
    counts = np.histogramdd(values, bins)[0].ravel()
    share = counts[counts > 0] / counts.sum()
    return len(share) / counts.size, float(np.exp(-(share * np.log(share)).sum()) / counts.size)


def planes(names: list[str]) -> list[tuple[int, int]]:
    """Find neighbours that span a plane: ``agent_x`` followed by ``agent_y``, for instance."""
    return [
        (i, i + 1)
        for i, (a, b) in enumerate(zip(names, names[1:]))
        if a.endswith("x") and b.endswith("y") and a[:-1] == b[:-1]
    ]


def still_states(store: EpisodeStore) -> tuple[float, int]:
    """Share of 25-step windows between whose ends the state hardly changes (see ``STILL_STATE``), and of how many.

    Of MuJoCo's tasks it is the positions that count: their state also has the time, which always changes.
    """
    rows = sample(store)
    values = numbers(store, "qpos" if "qpos" in store.columns else "state", rows)
    episode = np.searchsorted(store.offsets, rows, side="right")
    inside = episode[WINDOW:] == episode[:-WINDOW]
    if not inside.any():
        return float("nan"), 0
    change = np.abs(values[WINDOW:] - values[:-WINDOW])[inside]
    return float((change <= STILL_STATE * values.std(axis=0)).all(axis=1).mean()), len(change)


def still_pictures(store: EpisodeStore) -> tuple[float, int]:
    """Share of 25-step windows between whose ends the picture hardly changes (see ``STILL_PIXELS``), and of how many.

    At most 400 windows are looked at, evenly spaced; the share is NaN where no episode is long enough.
    """
    starts = _window_starts(store, MOST_WINDOWS)
    still = []
    for start in starts.tolist():
        first, last = (store.read("pixels", row, row + 1)[0].astype(np.int16) for row in (start, start + WINDOW))
        still.append((np.abs(last - first).max(axis=-1) > STILL_LEVELS).mean() < STILL_PIXELS)
    return float(np.mean(still)) if still else float("nan"), len(still)


def out_of_view(store: EpisodeStore, in_view: Callable[[np.ndarray], bool]) -> tuple[float, int]:
    """Share of rows whose state is out of view (`GoalTask.in_view`), and of how many: at most 2000, evenly spaced."""
    rows = np.unique(np.linspace(0, store.rows - 1, MOST_VIEWS).astype(np.int64))
    states = np.concatenate(list(_blocks(store, "state", rows)))
    return 1 - float(np.mean([bool(in_view(state)) for state in states])), len(rows)


def hard_windows(store: EpisodeStore, hard: Callable[[np.ndarray, np.ndarray], bool]) -> tuple[float, int]:
    """Share of 25-step windows that a task calls hard (`GoalTask.hard`), and of how many: at most 2000."""
    starts = _window_starts(store, MOST_VIEWS)
    if not len(starts):
        return float("nan"), 0
    ends = (np.concatenate(list(_blocks(store, "state", rows))) for rows in (starts, starts + WINDOW))
    found = [bool(hard(start, goal)) for start, goal in zip(*ends)]
    return float(np.mean(found)), len(found)


def _window_starts(store: EpisodeStore, most: int) -> np.ndarray:
    """First rows of evenly spaced windows, at most so many; none where no episode is long enough."""
    valid = np.maximum(store.lengths - WINDOW, 0)
    starts = np.arange(valid.sum()) - np.repeat(np.cumsum(valid) - valid, valid) + np.repeat(store.offsets, valid)
    return starts[np.unique(np.linspace(0, len(starts) - 1, most).astype(np.int64))] if len(starts) else starts
