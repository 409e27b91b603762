"""A film of rollouts, each beside its goal if it has one, to see what a number means."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from worldmodel.benchmarks.evaluate import Rollout
from worldmodel.errors import BadValue
from worldmodel.files import replacing

GREEN, GREY, DARK = (40, 200, 80), (120, 120, 120), (24, 24, 24)
TILE = 192  # about the side of a picture on the screen, pixels
BORDER, COLUMNS = 4, 3  # pixels around a picture, rollouts beside each other


def compose(rollouts: Sequence[Rollout]) -> np.ndarray:
    """Lay rollouts out in a grid, each to the left of its goal; a success gets a green frame and stands still.

    Pictures are enlarged by repeating pixels, so that one sees what the model saw.

    Returns:
        (T, height, width, 3) uint8 with even height and width, T as long as the longest rollout and a moment more.

    Raises:
        BadValue: there is nothing to show.
    """
    if not rollouts:
        raise BadValue("video: no rollouts to show")
    scale = max(1, TILE // rollouts[0].frames.shape[1])
    length = max(len(rollout.frames) for rollout in rollouts)
    length += max(5, length // 5)
    cells = [_cell(rollout, length, scale) for rollout in rollouts]
    columns = min(COLUMNS, len(cells))
    cells += [np.full_like(cells[0], DARK[0])] * (-len(cells) % columns)
    lines = [np.concatenate(cells[i : i + columns], axis=2) for i in range(0, len(cells), columns)]
    film = np.concatenate(lines, axis=1)
    return np.pad(film, ((0, 0), (0, film.shape[1] % 2), (0, film.shape[2] % 2), (0, 0)))


def _cell(rollout: Rollout, length: int, scale: int) -> np.ndarray:
    """One rollout, and its goal if there is one, (length, height, width, 3)."""
    still = np.repeat(rollout.frames[-1:], length - len(rollout.frames), axis=0)
    frames = _framed(np.concatenate([rollout.frames, still]), scale, GREY)
    if rollout.success:
        last = len(rollout.frames) - 1
        frames[last:] = _framed(rollout.frames[-1:], scale, GREEN)
    if rollout.goal is not None:
        goals = np.repeat(_framed(rollout.goal[None], scale, GREY), length, axis=0)
        frames = np.concatenate([frames, goals], axis=2)
    return np.pad(frames, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=DARK[0])


def _framed(images: np.ndarray, scale: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Enlarge images (T, S, S, 3) by a whole number and paint a border around each."""
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    framed = np.empty((len(large), large.shape[1] + 2 * BORDER, large.shape[2] + 2 * BORDER, 3), np.uint8)
    framed[:] = colour
    framed[:, BORDER:-BORDER, BORDER:-BORDER] = large
    return framed


def write_video(path: str | Path, film: np.ndarray, fps: int = 10) -> Path:
    """Write frames (T, height, width, 3) uint8 as an H.264 MP4 that browsers play, whole or not at all.

    Raises:
        BadFile: the disk is full or the folder is not writable.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _encode(file, film, fps, quality=18)
    return Path(path)


def as_mp4(film: np.ndarray) -> bytes:
    """Return frames (T, height, width, 3) uint8 as a small H.264 MP4 file."""
    file = io.BytesIO()
    _encode(file, film, 10, quality=24)
    return file.getvalue()


def _encode(file: BinaryIO, film: np.ndarray, fps: int, quality: int) -> None:
    """``quality`` is x264's constant rate factor: lower is better and larger."""
    import av

    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": str(quality)})
        stream.height, stream.width = film.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
