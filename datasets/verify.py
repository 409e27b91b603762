"""Reading a whole dataset to find what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from worldmodel.datasets.store import EpisodeStore
from worldmodel.errors import BadFile

_CONSTANT = ("split", "seed", "policy", "episode_idx")  # within an episode
_FINITE = {"action": slice(None, -1), "reward": slice(1, None), "state": slice(None)}  # rows that must be finite


def verify(path: str | Path, progress: Callable[[int, int], None] | None = None) -> EpisodeStore:
    """Read every row of a dataset and check it; return the store, open.

    Args:
        path: the dataset.
        progress: called with (episodes read, episodes).

    Raises:
        BadFile: something is wrong; one line with the first problem (file, episode, column) and how many follow.
    """
    store = EpisodeStore(path)
    found: list[str] = []
    for episode in range(len(store)):
        found.extend(problems(store, episode))
        if progress:
            progress(episode + 1, len(store))
    if found:
        store.close()
        more = f" (and {len(found) - 1} more problems)" if len(found) > 1 else ""
        raise BadFile(found[0] + more)
    return store


def problems(store: EpisodeStore, episode: int) -> Iterator[str]:
    """Yield one line for each thing that is wrong with one episode."""
    for name in store.columns:
        try:
            rows = store.read_episode(name, episode)
        except BadFile as error:
            yield str(error)
            continue
        fault = _fault(name, rows, episode)
        if fault:
            yield f"{store.path}: episode {episode}: column {name!r} {fault}"


def _fault(name: str, rows: np.ndarray, episode: int) -> str:
    if name == "pixels" and (rows.dtype != np.uint8 or rows.ndim != 4 or rows.shape[-1] != 3):
        return f"must hold uint8 (rows, height, width, 3), not {rows.dtype} {rows.shape}"
    if name in _FINITE and rows.dtype.kind not in "fiub":
        return f"must hold numbers, not {rows.dtype}"
    if name in _FINITE:
        finite = np.isfinite(rows[_FINITE[name]]).reshape(len(rows[_FINITE[name]]), -1).all(axis=1)
        if not finite.all():
            return f"is not finite at step {int(np.argmin(finite)) + (_FINITE[name].start or 0)}"
    if (name in _CONSTANT or name.startswith("variation_")) and (rows != rows[0]).any():
        return "changes within the episode"
    if name == "episode_idx" and rows[0] != episode:
        return f"says {rows[0]}"
    if name == "step_idx" and not np.array_equal(rows, np.arange(len(rows))):
        return "does not count 0, 1, 2 ..."
    return ""
