"""Reading a folder of npz files, one an episode: the plainest way to bring your own data.

    np.savez("episodes/0001.npz", pixels=pixels, action=action)

R is the number of pictures. The files are taken in the order of their names and need the same arrays:

    pixels, image or images        (R, height, width, 3) uint8
    observation or observations    the same when uint8 with four axes; else the state, if there is no array ``state``
    action or actions              (R, a) or (R-1, a): number k is taken at picture k
    reward or rewards, terminated or terminations, truncated or truncations
                                   (R-1,): number k is said of action k; (R,): said on arriving at picture k
    state                          (R, ...), optional, what a task can be put back to
    split                          0 train, 1 validation, 2 test, optional
    any other numbers              (R, ...) or one for the episode, kept under their names
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.sources import NPZ_ERRORS, Source, listed, reading
from worldmodel.errors import BadFile

NAMES = {
    "image": "pixels", "images": "pixels", "observations": "observation", "actions": "action", "rewards": "reward",
    "terminations": "terminated", "truncations": "truncated",
}  # fmt: skip


def read_npz(path: Path) -> Source:
    """Read a folder of npz files, one an episode.

    Raises:
        BadFile: no npz file there, or one is truncated or damaged; the message names file and array.
    """
    files = listed(path, "*.npz")
    if not files:
        raise BadFile(f"{path} holds no npz file")
    return Source({}, len(files), map(_episode, files))


def _episode(path: Path) -> dict[str, Any]:
    episode: dict[str, Any] = {}
    with reading(path, *NPZ_ERRORS), np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            with reading(f"{path}: column {name!r}", *NPZ_ERRORS):
                episode[NAMES.get(name, name)] = arrays[name]
    observation = episode.get("observation", np.empty(0))
    if "pixels" not in episode and observation.dtype == np.uint8 and observation.ndim == 4:
        episode["pixels"] = episode.pop("observation")
    return episode
