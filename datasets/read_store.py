"""Reading our own datasets, to give them another picture size or split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldmodel.datasets.sources import Source
from worldmodel.datasets.store import EpisodeStore


def read_store(path: Path) -> Source:
    """Read a dataset of ours: every column as it is, splits and provenance included.

    Raises:
        BadFile: the file is not a sound dataset; the message names the column.
    """
    store = EpisodeStore(path)
    written_anew = ("format", "version", "created")
    attrs = {key: value for key, value in store.attrs.items() if key not in written_anew}
    return Source(attrs, len(store), _episodes(store))


def _episodes(store: EpisodeStore) -> Iterator[dict[str, Any]]:
    with store:
        for number in range(len(store)):
            yield {name: store.read_episode(name, number) for name in store.columns}
