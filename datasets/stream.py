"""Frames read from the dataset's file whenever they are asked for, for sets too large to decode once."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from worldmodel.datasets.cache import FrameCache, fits
from worldmodel.datasets.store import EpisodeStore


def frames_of(
    store: EpisodeStore,
    column: str = "pixels",
    cache: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FrameCache | FrameStream:
    """Rows of a picture column, by ``gather``: decoded once (``cache`` True) or read again and again (False).

    By default, whichever fits.
    """
    decoded = fits(store, column) if cache is None else cache
    return FrameCache(store, column, progress) if decoded else FrameStream(store, column)


class FrameStream:
    """Rows of one picture column, row by row from the file, which stays open.

    At 224 px each picture is a chunk of its own, so a row costs the decoding of one picture.

    Args:
        store: the dataset; it may be closed afterwards.
        column: a picture column.
    """

    def __init__(self, store: EpisodeStore, column: str) -> None:
        self._path, self._column = store.path, column
        self._store, self._process = EpisodeStore(store.path), os.getpid()

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Read rows in any order, repeated or not: (B, T) -> (B, T, ...).

        Raises:
            BadFile: a row is damaged; the message names column and episode.
        """
        if self._process != os.getpid():  # a fork must not share the file's position
            self._store, self._process = EpisodeStore(self._path), os.getpid()
        shape, dtype = self._store.columns[self._column]
        flat = rows.ravel()
        frames = np.empty((len(flat), *shape[1:]), dtype)
        before = -1
        for i in np.argsort(flat, kind="stable").tolist():  # sorted: no chunk is decoded twice
            if before >= 0 and flat[i] == flat[before]:
                frames[i] = frames[before]
            else:
                frames[i] = self._store.read(self._column, int(flat[i]), int(flat[i]) + 1)[0]
            before = i
        return frames.reshape(*rows.shape, *shape[1:])
