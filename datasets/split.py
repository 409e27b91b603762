"""A copy of a dataset with a new split, or with some of its episodes only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from worldmodel.datasets.merge import OWN, policy_counts, refuse_existing
from worldmodel.datasets.store import SPLITS, EpisodeStore, split_number
from worldmodel.datasets.writing import StoreWriter
from worldmodel.errors import BadValue
from worldmodel.files import replacing

LEFT_OUT = -1


def new_split(episodes: int, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """Assign episodes to train 0, validation 1, test 2 by a seeded permutation, and what the shares leave to -1.

    Args:
        episodes: E.
        shares: of ``"train"``, ``"validation"`` and ``"test"``, each 0 to 1, at most 1 together; a missing one is 0.
        seed: of the permutation.

    Returns:
        (E,) int8.

    Raises:
        BadValue: a share out of range, or so small that it is no episode.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise BadValue(f"{name}: expected a share from 0 to 1, got {share}")
    if sum(shares.values()) > 1 + 1e-9:
        raise BadValue(f"train: the shares {', '.join(map(str, shares.values()))} add up to more than 1")
    order = np.random.default_rng(seed).permutation(episodes)
    split = np.full(episodes, LEFT_OUT, np.int8)
    taken, total = 0, 0.0
    for number, name in enumerate(SPLITS):
        total += shares.get(name, 0.0)
        stop = min(round(total * episodes), episodes)
        if shares.get(name) and stop == taken:
            raise BadValue(f"{name}: {shares[name]} of {episodes} episodes is none")
        split[order[taken:stop]] = number
        taken = stop
    return split


def resplit(
    path: str | Path,
    out: str | Path,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    only: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a copy with a new split by episode, with the episodes of one split only, or both.

    Args:
        path: a dataset.
        out: the dataset to make.
        shares: see `new_split`; episodes that they leave are not written. None keeps the file's split.
        seed: of the new split.
        only: ``"train"``, ``"validation"`` or ``"test"`` writes the episodes of that split only.
        progress: called with (rows copied, rows).

    Returns:
        ``out``.

    Raises:
        UnknownName: no such split.
        BadValue: a share out of range, or no episode is left.
        BadFile: the dataset is damaged, or ``out`` is already there.
    """
    wanted = range(len(SPLITS)) if only is None else [split_number(only)]
    refuse_existing(out)
    with EpisodeStore(path) as store:
        split = store.split if shares is None else new_split(len(store), shares, seed)
        chosen = np.isin(split, wanted)
        if not chosen.any():
            raise BadValue(f"only: {path} has no {only} episode" if only else "train: no episode is left")
        rows = int(store.lengths[chosen].sum())
        attrs = {key: value for key, value in store.attrs.items() if key not in OWN}
        attrs["policies"] = policy_counts(store, np.flatnonzero(chosen))
        attrs["sources"] = [{"file": store.path.name, "episodes": len(store), "fingerprint": store.fingerprint}]
        with replacing(out) as temporary, StoreWriter(temporary, attrs) as writer:
            borders = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]])))
            for start, stop in borders.reshape(-1, 2).tolist():  # runs of episodes that are written
                writer.extend(
                    store,
                    split[start:stop],
                    slice(start, stop),
                    lambda done: progress(done, rows) if progress else None,
                )
    return Path(out)
