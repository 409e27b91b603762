"""``wm-data preview | merge | append | split``: pictures of a dataset, and datasets made from others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel.cli.common import bar, move, options_as_fields
from worldmodel.errors import BadValue


def preview(path: Annotated[str, tyro.conf.Positional], out: str = "", episodes: int = 8, frames: int = 10) -> None:
    """Draw a contact sheet (PNG) and a film (MP4) of evenly spaced episodes.

    Args:
        path: The dataset.
        out: The contact sheet; the film lies beside it [default: beside the dataset, with its name].
        episodes: How many.
        frames: Pictures of each on the sheet.
    """
    from worldmodel.benchmarks.video import write_video
    from worldmodel.datasets.preview import contact_sheet, evenly, film, write_png
    from worldmodel.datasets.store import EpisodeStore

    for name, value in (("episodes", episodes), ("frames", frames)):
        if value < 1:
            raise BadValue(f"--{name}: expected at least 1, got {value}")
    sheet = Path(out) if out else Path(path).with_suffix(".png")
    if sheet.suffix != ".png":
        raise BadValue(f"--out: expected a name that ends in .png, got {out}")
    with EpisodeStore(path) as store:
        _ = store.image_size  # or one line that says there are no pictures
        chosen = evenly(len(store), episodes)
        write_png(sheet, contact_sheet(store, chosen, frames))
        with bar(None, "frames", "filming") as line:
            write_video(
                sheet.with_suffix(".mp4"), film(store, chosen, progress=lambda done, total: move(line, done, total))
            )
    print(f"{sheet} and {sheet.with_suffix('.mp4')}: episodes {', '.join(map(str, chosen.tolist()))}")


def merge(paths: Annotated[tuple[str, ...], tyro.conf.Positional], out: str) -> None:
    """Join datasets of one task, image size and look; every episode keeps its split.

    Args:
        paths: The datasets.
        out: File to make.
    """
    from worldmodel.datasets import merge as library

    with bar(None, "rows", "merging") as line:
        library.merge(paths, out, lambda done, total: move(line, done, total))
    _show(out)


def append(path: Annotated[str, tyro.conf.Positional], more: Annotated[str, tyro.conf.Positional]) -> None:
    """Add a dataset's episodes to the end of another, which others may be reading; every episode keeps its split.

    Args:
        path: The dataset that grows.
        more: The episodes to add; the file stays.
    """
    from worldmodel.datasets import append as library

    with bar(None, "rows", "appending") as line:
        library.append(path, more, lambda done, total: move(line, done, total))
    _show(path)


def split(
    path: Annotated[str, tyro.conf.Positional],
    out: str,
    train: float | None = None,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    only: str = "",
) -> None:
    """Copy a dataset with a new split by episode, with the episodes of one split only, or both.

    Args:
        path: The dataset.
        out: File to make.
        train: Share of the episodes; those that no share takes are left out. Without shares the file's split stays.
        validation: Share of the episodes.
        test: Share of the episodes.
        seed: Of the new split.
        only: Write the episodes of train, validation or test only.
    """
    from worldmodel.datasets.split import resplit

    given = {"train": train, "validation": validation, "test": test}
    shares: Any = {name: share for name, share in given.items() if share is not None} or None
    if shares is None and not only:
        raise BadValue("--train: give shares, as in --train 0.9 --validation 0.05 --test 0.05, or --only train")
    with options_as_fields(), bar(None, "rows", "copying") as line:
        resplit(path, out, shares, seed, only or None, lambda done, total: move(line, done, total))
    _show(out)


def _show(path: str) -> None:
    from worldmodel.cli.data_info import show
    from worldmodel.datasets.store import EpisodeStore

    with EpisodeStore(path) as store:
        show(store)
