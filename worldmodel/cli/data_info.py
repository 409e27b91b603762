"""``wm-data info | list``: what datasets hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from worldmodel.cli.common import aligned
from worldmodel.errors import BadFile, WorldModelError

if TYPE_CHECKING:
    import numpy as np

    from worldmodel.datasets.store import EpisodeStore

MOST_NUMBERS = 24  # of a state that are shown


def info(path: Annotated[str, tyro.conf.Positional]) -> None:
    """Say what a dataset holds and what it covers.

    Args:
        path: The dataset.
    """
    from worldmodel.datasets import statistics
    from worldmodel.datasets.store import EpisodeStore

    with EpisodeStore(path) as store:
        show(store)
        task = _task(store)
        rows = statistics.sample(store)
        for name, column in (("action", store.columns.get("action")), ("state", store.columns.get("state"))):
            if column:
                values = statistics.numbers(store, name, rows)
                labels = list(getattr(task, "state_names", ())) if name == "state" else []
                labels = labels if len(labels) == values.shape[1] else list(map(str, range(values.shape[1])))
                print()
                table = _action_rows if name == "action" else _state_rows
                print(aligned(list(table(values, labels))))
        print()
        print(aligned(list(_facts(store, task, len(rows)))))


def list_datasets(folder: Annotated[str, tyro.conf.Positional] = "data") -> None:
    """List the datasets in a folder, unfinished collections and unreadable files too.

    Args:
        folder: Where to look.
    """
    from worldmodel.datasets.collect import unfinished

    if not Path(folder).is_dir():
        raise BadFile(f"no such folder: {folder} (make a dataset with: wm-data collect)")
    files = sorted(path for path in Path(folder).iterdir() if path.suffix in (".h5", ".hdf5") and path.is_file())
    lines = [_line(path) for path in files]
    notes = [line for line in lines if isinstance(line, str)]
    table = [line for line in lines if not isinstance(line, str)]
    for path, env, episodes in unfinished(folder):
        notes.append(f"{path}  unfinished: {episodes} episodes of {env}; the same wm-data collect command goes on")
    if table:
        print(aligned([("dataset", "env", "episodes", "rows", "image", "MB", "render", "collected with"), *table]))
    if table and notes:
        print()
    print("\n".join(notes) if table or notes else f"no dataset in {folder}/ (make one with: wm-data collect)")


def show(store: EpisodeStore) -> None:
    """Print provenance and columns of a dataset."""
    splits = ", ".join(f"{len(store.episodes(name))} {name}" for name in ("train", "validation", "test"))
    low, high = int(store.lengths.min()), int(store.lengths.max())
    size = store.path.stat().st_size
    facts = {
        "file": f"{store.path} ({size / 1e6:.1f} MB, {size / store.rows:.0f} bytes a row)",
        "episodes": f"{len(store)} ({splits})",
        "rows": f"{store.rows} ({low if low == high else f'{low} to {high}'} an episode)",
        **{key: _text(value) for key, value in sorted(store.attrs.items()) if key != "format"},
        "fingerprint": store.fingerprint[:16],
    }
    columns = [(name, " ".join(map(str, shape[1:])), dtype) for name, (shape, dtype) in store.columns.items()]
    print(aligned(list(facts.items())))
    print()
    print(aligned([("column", "row", "type"), *columns]))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{item} {key}" for key, item in value.items())
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if all("file" in item for item in value):  # of sources
            return ", ".join(f"{item['file']} ({item.get('episodes', '?')} episodes)" for item in value)
        if all("rows" in item for item in value):  # of what a dataset has grown from
            return ", ".join(f"{item['rows']} rows" for item in value)
    return str(value)


def _line(path: Path) -> tuple[object, ...] | str:
    """One dataset of the list, or the reason why it cannot be read."""
    from worldmodel.datasets.store import EpisodeStore

    try:
        with EpisodeStore(path) as store:
            attrs, pixels = store.attrs, store.columns.get("pixels")
            return (
                path.name, attrs.get("env", "?"), len(store), store.rows,
                " x ".join(map(str, pixels[0][1:3])) if pixels else "none", f"{path.stat().st_size / 1e6:.1f}",
                attrs.get("render_preset", "?"),
                ", ".join(attrs["policies"]) if isinstance(attrs.get("policies"), dict) else "?",
            )  # fmt: skip
    except WorldModelError as error:
        return str(error)


def _task(store: EpisodeStore) -> Any:
    """The task whose states the dataset has; None where it is not one of ours or cannot be made here."""
    from worldmodel.envs.registry import make

    with suppress(WorldModelError):
        task = make(store.env, observation="state").unwrapped
        if "state" in store.columns and store.columns["state"][0][1:] == (task.state_dim,):
            if not task.restorable:
                task.calibrate(store.read("state", 0, store.rows))
            return task
    return None


def _action_rows(values: np.ndarray, labels: Sequence[str]) -> Iterator[Sequence[str]]:
    from worldmodel.datasets.statistics import spread

    found = spread(values)
    yield "action", "mean", "std", "min", "max", "at min or max"
    for i, label in enumerate(labels):
        numbers = (found.mean[i], found.std[i], found.low[i], found.high[i])
        yield label, *(f"{number:.3g}" for number in numbers), _percent(found.at_ends[i])


def _state_rows(values: np.ndarray, labels: Sequence[str]) -> Iterator[Sequence[str]]:
    from worldmodel.datasets.statistics import occupancy, planes, spread

    found = spread(values)
    yield "state", "mean", "std", "min", "max", "visited", "evenness"
    for i, label in enumerate(labels[:MOST_NUMBERS]):
        numbers = (found.mean[i], found.std[i], found.low[i], found.high[i])
        yield label, *(f"{number:.3g}" for number in numbers), *_share(*occupancy(values[:, i]))
    for i, j in planes(list(labels[:MOST_NUMBERS])):
        yield f"{labels[i]}, {labels[j]}", "", "", "", "", *_share(*occupancy(values[:, [i, j]]))
    if len(labels) > MOST_NUMBERS:
        yield (f"and {len(labels) - MOST_NUMBERS} more numbers",)


def _share(visited: float, evenness: float) -> tuple[str, str]:
    return ("constant", "") if visited != visited else (_percent(visited), f"{evenness:.2f}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _facts(store: EpisodeStore, task: Any, rows: int) -> Iterator[tuple[str, str]]:
    """What remains to be said, with the definitions of what was measured."""
    from worldmodel.datasets import statistics as s

    states = "state" in store.columns
    if states:
        yield (
            "visited",
            f"of {s.BINS} equal bins from min to max, those with a row; {s.JOINT_BINS} x {s.JOINT_BINS} for two",
        )
        yield "evenness", "share of the bins that a uniform distribution of the same entropy fills; 1 is uniform"
    if "pixels" in store.columns:
        share, count = s.still_pictures(store)
        what = f"less than {s.STILL_PIXELS:.1%} of the picture changes by more than {s.STILL_LEVELS} of 255"
        yield "still pictures", f"{_of_windows(share, count)}: {what}"
    if states:
        share, count = s.still_states(store)
        what = f"no number changes by more than {s.STILL_STATE:.0%} of its standard deviation"
        yield "still states", f"{_of_windows(share, count)}: {what}"
        if hasattr(task, "hard"):
            yield "hard", f"{_of_windows(*s.hard_windows(store, task.hard))}: {task.hard_label}"
        if hasattr(task, "in_view"):
            share, count = s.out_of_view(store, task.in_view)
            yield "out of view", f"{_percent(share)} of {count} rows, of no use as a start or a goal"
    if rows < store.rows:
        yield "sampled", f"tables and still states are from {rows} rows of evenly spaced episodes"


def _of_windows(share: float, count: int) -> str:
    from worldmodel.datasets.statistics import WINDOW

    return f"{_percent(share) if count else 'none'} of {count} windows of {WINDOW} steps"
