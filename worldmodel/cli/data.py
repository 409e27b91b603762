"""``wm-data collect | info | verify``: make datasets, and look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from worldmodel.cli.common import run

if TYPE_CHECKING:
    from worldmodel.datasets.store import EpisodeStore


def collect(
    env: str = "pusht",
    episodes: int = 1000,
    steps: int = 200,
    seed: int = 0,
    image_size: int = 64,
    workers: int | None = None,
    out: Path | None = None,
) -> None:
    """Collect episodes; after an interruption the same command goes on where it stopped.

    Args:
        env: task, such as pusht or two-room.
        episodes: how many; 90 % train, 5 % validation, 5 % test.
        steps: environment steps in each.
        seed: of the whole collection; the number of workers does not matter.
        image_size: side of the pictures, pixels.
        workers: processes [default: all cores].
        out: file to make [default: data/<env>.h5].
    """
    from worldmodel.datasets.collect import default_path
    from worldmodel.datasets.store import EpisodeStore

    path = out or default_path(env)
    collect_episodes(env, path, episodes, steps, seed, image_size, workers)
    with EpisodeStore(path) as store:
        show(store)


def collect_episodes(
    env: str, path: Path, episodes: int, steps: int, seed: int, image_size: int, workers: int | None = None
) -> None:
    """Collect with a progress bar, and say so when episodes of an earlier run were found."""
    from worldmodel.datasets import collect as library

    if path.exists():
        print(f"{path} is already there")
    started = False
    with bar("collecting") as advance:

        def progress(done: int, total: int) -> None:
            nonlocal started
            if done and not started:
                print(f"going on: {done} of {total} episodes were found in {library.parts_folder(path)}")
            started = True
            advance(done, total)

        library.collect(env, path, episodes, steps, seed, workers, image_size, progress)


def info(path: Annotated[Path, tyro.conf.Positional]) -> None:
    """Say what a dataset holds.

    Args:
        path: the dataset.
    """
    from worldmodel.datasets.store import EpisodeStore

    with EpisodeStore(path) as store:
        show(store)


def verify(path: Annotated[Path, tyro.conf.Positional]) -> None:
    """Read a whole dataset and name the first thing that is wrong with it, if any.

    Args:
        path: the dataset.
    """
    from worldmodel.datasets.verify import verify

    with bar("reading") as advance, verify(path, advance) as store:
        print(f"{path} is sound: {len(store)} episodes, {store.rows} rows, {len(store.columns)} columns")


def show(store: EpisodeStore) -> None:
    """Print provenance and columns of a dataset."""
    splits = ", ".join(f"{len(store.episodes(name))} {name}" for name in ("train", "validation", "test"))
    low, high = int(store.lengths.min()), int(store.lengths.max())
    facts = {
        "file": f"{store.path} ({store.path.stat().st_size / 1e6:.1f} MB)",
        "episodes": f"{len(store)} ({splits})",
        "rows": f"{store.rows} ({low if low == high else f'{low} to {high}'} an episode)",
        **{key: _text(value) for key, value in sorted(store.attrs.items()) if key != "format"},
        "fingerprint": store.fingerprint[:16],
    }
    table(list(facts.items()))
    print()
    columns = [(name, " ".join(map(str, shape[1:])), str(dtype)) for name, (shape, dtype) in store.columns.items()]
    table([("column", "row", "type"), *columns])


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows of text with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _text(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield ``advance(done, total)``, which moves a bar on stderr; where that is no terminal there is no bar."""
    from tqdm import tqdm

    with tqdm(desc=what, unit=" episodes", disable=None, leave=False) as line:

        def advance(done: int, total: int) -> None:
            if line.total is None:
                line.total, line.initial = total, done
            line.update(done - line.n)

        yield advance


def main() -> None:
    """Entry point of ``wm-data``."""
    commands = {"collect": collect, "info": info, "verify": verify}
    run(lambda: tyro.extras.subcommand_cli_from_dict(commands, prog="wm-data", description="Make and check datasets."))


if __name__ == "__main__":
    main()
