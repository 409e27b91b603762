"""Several datasets of one task as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import StoreWriter
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import replacing

OWN = {"format", "created", "policies", "sources", "grown_from"}  # attributes of one file, not of what is made from it
_SAME_ROWS = {"action": 10, "state": 10, "pixels": 1}  # two episodes that begin with as many equal rows are one


def merge(paths: Sequence[str | Path], out: str | Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Join datasets, one after another; every episode keeps its split.

    Attributes on which all agree are kept; the attribute ``sources`` lists each file, its fingerprint and the others.

    Args:
        paths: two datasets or more, of one task, image size, action size and render preset, with the same columns.
        out: the dataset to make.
        progress: called with (rows copied, rows).

    Returns:
        ``out``.

    Raises:
        BadValue: fewer than two.
        BadFile: one is damaged, they do not fit together (one line says in what), two of them hold the same episode, or
            ``out`` is already there.
    """
    if len(paths) < 2:
        raise BadValue(f"merge: expected at least two datasets, got {len(paths)}")
    refuse_existing(out)
    return join(paths, out, progress)


def join(
    paths: Sequence[str | Path],
    out: str | Path,
    progress: Callable[[int, int], None] | None = None,
    about: Callable[[EpisodeStore], dict[str, Any]] = lambda first: {},
) -> Path:
    """Do what `merge` does, in place of whatever is at ``out``; ``about`` the first store says more of the result."""
    with replacing(out) as temporary, ExitStack() as stack:
        stores = [stack.enter_context(EpisodeStore(path)) for path in paths]
        for other in stores[1:]:
            _check_alike(stores[0], other)
        starts = [_starts(store) for store in stores]
        for (one, a), (other, b) in combinations(zip(stores, starts), 2):
            for start in sorted(a.keys() & b.keys(), key=a.__getitem__):
                raise BadFile(
                    f"episode {a[start]} of {one.path} is episode {b[start]} of {other.path}: one may be tested, "
                    "the other trained on; collect with another seed"
                )
        rows = sum(store.rows for store in stores)
        with StoreWriter(temporary, {**_provenance(stores), **about(stores[0])}) as writer:
            for store in stores:
                writer.extend(store, store.split, progress=lambda done: progress(done, rows) if progress else None)
    return Path(out)


def refuse_existing(out: str | Path) -> None:
    """Raise BadFile if there is something at ``out`` already."""
    if Path(out).exists():
        raise BadFile(f"{out} is already there: choose another file or delete it")


def policy_counts(store: EpisodeStore, episodes: np.ndarray) -> dict[str, int]:
    """Return how many of the episodes each behaviour policy collected; empty where the file does not say."""
    if "policy" not in store.columns:
        return {}
    names = store.read("policy", 0, store.rows)[store.offsets[episodes]].tolist()
    return dict(sorted(Counter(name.decode() if isinstance(name, bytes) else str(name) for name in names).items()))


def _check_alike(one: EpisodeStore, other: EpisodeStore) -> None:
    for name, (shape, dtype) in one.columns.items():
        if name not in other.columns:
            raise BadFile(f"{other.path} has no column {name!r}, {one.path} has")
        if (other.columns[name][0][1:], other.columns[name][1]) != (shape[1:], dtype):
            raise BadFile(
                f"column {name!r} holds {_kind(one, name)} in {one.path} and {_kind(other, name)} in {other.path}"
            )
    if extra := other.columns.keys() - one.columns.keys():
        raise BadFile(f"{one.path} has no column {min(extra)!r}, {other.path} has")
    for name in ("env", "render_preset"):
        if one.attrs.get(name) != other.attrs.get(name):
            raise BadFile(
                f"{name} is {one.attrs.get(name)!r} in {one.path} and {other.attrs.get(name)!r} in {other.path}"
            )


def _kind(store: EpisodeStore, name: str) -> str:
    shape, dtype = store.columns[name]
    return f"{dtype} {' x '.join(map(str, shape[1:])) or 'numbers'}"


def _starts(store: EpisodeStore) -> dict[bytes, int]:
    """How each episode begins -> its number."""
    rows = {name: count for name, count in _SAME_ROWS.items() if name in store.columns}
    return {
        b"".join(store.read(name, start, start + min(length, count)).tobytes() for name, count in rows.items()): number
        for number, (start, length) in enumerate(zip(store.offsets.tolist(), store.lengths.tolist()))
        if rows
    }


def _provenance(stores: Sequence[EpisodeStore]) -> dict[str, Any]:
    first = stores[0].attrs
    agreed = {key for key in first if all(key in s.attrs and s.attrs[key] == first[key] for s in stores)} - OWN
    policies: Counter[str] = Counter()
    for store in stores:
        policies.update(policy_counts(store, store.episodes()))
    sources = [source for store in stores for source in _sources(store, agreed)]
    return {**{key: first[key] for key in agreed}, "policies": dict(sorted(policies.items())), "sources": sources}


def _sources(store: EpisodeStore, agreed: set[str]) -> list[dict[str, Any]]:
    """What each run of the store's episodes came from: the files that it was itself made of, or the store."""
    its_own = {key: value for key, value in store.attrs.items() if key not in agreed | {"format", "created"}}
    parts = store.attrs.get("sources", [])
    if sum(part["episodes"] for part in parts) == len(store):
        return [{key: value for key, value in its_own.items() if key not in OWN} | part for part in parts]
    return [{"file": store.path.name, "episodes": len(store), "fingerprint": store.fingerprint} | its_own]
