"""Pictures of a dataset to look at: a contact sheet and a film of a few episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from worldmodel.datasets.store import SPLITS, EpisodeStore
from worldmodel.files import replacing

TILE, FILM_TILE = 128, 192  # about the side of a picture on the sheet and in the film, pixels
LINE, GAP = 16, 4  # height of the text above a picture, space around it
MOST_FRAMES = 300  # in a film; longer episodes are shown in steps
_PAPER, _INK = 24, (220, 220, 220)


def evenly(total: int, count: int) -> np.ndarray:
    """Return at most ``count`` of the numbers 0 ... total - 1, the first, the last and equally spaced ones between."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def contact_sheet(store: EpisodeStore, episodes: np.ndarray, frames: int = 10) -> np.ndarray:
    """Draw a row of equally spaced frames for each episode, (height, width, 3) uint8."""
    rows = []
    for episode in episodes.tolist():
        steps = evenly(int(store.lengths[episode]), frames)
        pictures = [_picture(store, episode, step, TILE) for step in steps.tolist()]
        texts = [f"step {step}" for step in steps.tolist()]
        texts[0] = _title(store, episode)
        tiles = [_tile(picture, text) for picture, text in zip(pictures, texts)]
        tiles += [np.full_like(tiles[0], _PAPER)] * (frames - len(tiles))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def film(
    store: EpisodeStore,
    episodes: np.ndarray,
    columns: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Play episodes side by side, (T, height, width, 3) uint8 with even sides; one that has ended stands still.

    Args:
        store: the dataset.
        episodes: (E,) their numbers.
        columns: films beside each other.
        progress: called with (pictures read, pictures).
    """
    longest = int(store.lengths[episodes].max())
    steps = evenly(longest, MOST_FRAMES)
    cells = []
    for episode in episodes.tolist():
        own = np.minimum(steps, store.lengths[episode] - 1).tolist()
        cells.append(
            np.stack([_tile(_picture(store, episode, step, FILM_TILE), _title(store, episode)) for step in own])
        )
        if progress:
            progress(len(cells) * len(steps), len(episodes) * len(steps))
    columns = min(columns, len(cells))
    cells += [np.full_like(cells[0], _PAPER)] * (-len(cells) % columns)
    lines = [np.concatenate(cells[i : i + columns], axis=2) for i in range(0, len(cells), columns)]
    whole = np.concatenate(lines, axis=1)
    even = ((0, 0), (0, whole.shape[1] % 2), (0, whole.shape[2] % 2), (0, 0))
    return np.pad(whole, even, constant_values=_PAPER)


def write_png(path: str | Path, picture: np.ndarray) -> Path:
    """Write a picture (height, width, 3) uint8, RGB, as PNG, whole or not at all.

    Raises:
        BadFile: the disk is full or the folder is not writable.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(png(picture))
    return Path(path)


def png(picture: np.ndarray) -> bytes:
    """A picture (height, width, 3) uint8, RGB, as a PNG file."""
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def _title(store: EpisodeStore, episode: int) -> str:
    return f"{episode} {SPLITS[store.split[episode]]}"


def _picture(store: EpisodeStore, episode: int, step: int, side: int) -> np.ndarray:
    """One picture, enlarged by repeating pixels so that one sees what a model sees."""
    row = int(store.offsets[episode]) + step
    picture = store.read("pixels", row, row + 1)[0]
    scale = max(1, side // picture.shape[0])
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _tile(picture: np.ndarray, text: str) -> np.ndarray:
    tile = np.pad(picture, ((LINE, GAP), (GAP, GAP), (0, 0)), constant_values=_PAPER)
    return np.asarray(cv2.putText(tile, text, (GAP, LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _INK, 1, cv2.LINE_AA))
