"""More episodes for a dataset that others may be reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldmodel.datasets.merge import join
from worldmodel.datasets.store import EpisodeStore
from worldmodel.files import locked


def append(path: str | Path, more: str | Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Add another dataset's episodes to the end of a dataset; every episode keeps its split, every old row its place.

    The grown file is written beside the old one and takes its name when it is whole. Who has the old one open goes on
    reading that; whenever this process is killed, the old or the new file is there. Pictures are not compressed again,
    and the decoded ones of the old file are used again (`FrameCache`).

    Attributes of the two that differ move into ``sources``, one entry for every run of episodes, as `merge` does.
    ``grown_from`` lists what the dataset was before, ``{"fingerprint", "rows"}`` each, the last one last.

    Args:
        path: the dataset that grows.
        more: the episodes to add: same task, image size, action size, render preset and columns.
        progress: called with (rows written, rows of the grown file).

    Returns:
        ``path``.

    Raises:
        BadFile: one is damaged, they do not fit together (one line says in what), both hold the same episode, another
            process is adding to ``path``, or the disk is full.
    """
    EpisodeStore(path).close()  # or one line, before anything is written
    real = Path(path).resolve()  # a link goes on being one
    busy = f"another process is adding to {path}: try again when it is done"
    with locked(real.with_name(f".{real.name}.lock"), busy):
        join([path, more], real, progress, _grown_from)
    return Path(path)


def _grown_from(old: EpisodeStore) -> dict[str, Any]:
    before = {"fingerprint": old.fingerprint, "rows": old.rows}
    return {"grown_from": [*old.attrs.get("grown_from", []), before]}
