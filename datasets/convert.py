"""Making a dataset of ours (store.py) from one that somebody already has.

There is no writer for other projects: stable-worldmodel loads our files as they are (benchmarks/swm_roundtrip.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.collect import split_of
from worldmodel.datasets.formats import FORMATS, detect
from worldmodel.datasets.sources import Source, our_columns
from worldmodel.datasets.writing import StoreWriter
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue, UnknownName, WorldModelError
from worldmodel.files import replacing


def convert(
    source: str | Path,
    target: str | Path,
    *,
    format: str | None = None,
    env: str | None = None,
    image_size: int | None = None,
    camera: str | None = None,
    seed: int | None = None,
    redraw: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a dataset of ours from another one, whole or not at all, in the memory of an episode (LeRobot 3.0: a file).

    Columns keep their names, with underscores for slashes and dots; what is neither a number nor a boolean is left
    out. ``state`` is the task's own where that is known (stable-worldmodel's PushT and TwoRoom; positions and
    velocities of MuJoCo tasks), so that plans can be evaluated; else the source's. The bounds of the actions are
    written as ``action_low`` and ``action_high``: those of the source or the task when all actions lie within them,
    else the least and greatest.

    Args:
        source: file, folder, or id of a Minari dataset.
        target: the file to make; it must not be there yet.
        format: one of `FORMATS`; found out from the content by default.
        env: short name of the task; needed when the source does not say.
        image_size: side of the pictures, which are scaled by averaging and padded with black where they are not
            square. They stay as they are by default, and must be square then.
        camera: which pictures of a LeRobot dataset; its first by default.
        seed: of a new split, 90 % train, 5 % validation, 5 % test by episode. By default the source's own split is
            kept, and where it has none, seed 0 is taken.
        redraw: draw the states anew as our own collections are drawn, 64 px unless ``image_size`` says otherwise. Plans
            are evaluated on our pictures, and others' differ: stable-worldmodel draws the goal into every frame.
        progress: called with (episodes done, episodes).

    Returns:
        The target.

    Raises:
        UnknownName: no such format or camera.
        BadValue: an argument out of range or missing.
        BadFile: the source is damaged or foreign (the message names the column where it can), or the target is there.
        MissingExtra: the format needs a package that is not installed.
    """
    source, target = Path(source), Path(target)
    for option, value, least in (("image_size", image_size, 8), ("seed", seed, 0)):
        if value is not None and value < least:
            raise BadValue(f"{option}: expected at least {least}, got {value}")
    if format is not None and format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if target.exists():
        raise BadFile(f"{target} is already there: choose another file or delete it")
    format = format or detect(source)
    if camera is not None and format != "lerobot":
        raise BadValue(f"camera: only LeRobot datasets have several, {source} is of format {format}")
    opened = _open(source, format, camera)
    env = _short(env or opened.attrs.get("env"))
    if env is None:
        tasks = ", ".join(registry.TASKS)
        raise BadValue(f"env: {source} does not say which environment it is of: name it, such as {tasks}")

    attrs = {"source_format": format, "source": source.name, **opened.attrs, "env": env}
    foreign = format != "worldmodel"
    if redraw:
        attrs["render_preset"], image_size = "fast", image_size or 64
    elif foreign:  # whoever drew them did not draw as we do
        attrs.setdefault("render_preset", "foreign")
    task = _simulator(env, image_size)
    bounds = _Bounds(task, attrs)
    with replacing(target) as temporary, StoreWriter(temporary, attrs) as writer:
        for number, episode in enumerate(_converted(source, opened, env, image_size, seed, task, redraw, foreign)):
            try:
                writer.append(episode)
            except BadValue as error:
                raise BadFile(f"{source}: {error}") from error
            bounds.add(episode["action"][:-1])
            if progress:
                progress(number + 1, opened.total)
        if "pixels" in episode:
            writer.describe({"image_size": episode["pixels"].shape[1]})
        writer.describe({"action_dim": episode["action"].shape[1], **bounds.attrs(source)})
    return target


def _open(source: Path, format: str, camera: str | None) -> Source:
    if format != "minari" and not source.exists():  # which may be an id
        raise BadFile(f"no such file or folder: {source}")
    module, _, name = FORMATS[format][0].partition(":")
    reader = getattr(import_module(module), name)
    opened: Source = reader(source) if camera is None else reader(source, camera)
    if opened.total < 1:
        raise BadFile(f"{source} holds no episode")
    return opened


def _short(env: str | None) -> str | None:
    return next((short for short in registry.names() if env == registry.gym_id(short)), env)


def _simulator(env: str, image_size: int | None) -> Any:
    """The task, which draws nothing unless asked to; None where it is not one of ours or its extra is not installed."""
    with suppress(WorldModelError):
        return registry.make(env, observation="state", image_size=image_size or 64).unwrapped
    return None


def _converted(
    source: Path,
    opened: Source,
    env: str,
    image_size: int | None,
    seed: int | None,
    task: Any,
    redraw: bool,
    foreign: bool,
) -> Iterator[dict[str, Any]]:
    split = split_of(opened.total, seed or 0)
    for number, episode in enumerate(opened.episodes):
        if foreign:  # a variation of theirs has other units
            episode = {f"source_{n}" if n.startswith("variation") else n: value for n, value in episode.items()}
        try:
            ours = our_columns(episode, env, image_size, task, redraw)
        except BadValue as error:
            if str(error).startswith(("image_size", "redraw")):
                raise
            raise BadFile(f"{source}: episode {number}: {error}") from error
        if seed is not None or "split" not in ours:
            ours["split"] = split[number]
        yield ours


class _Bounds:
    """The bounds of the actions: the declared ones when all lie within, else the least and greatest."""

    def __init__(self, task: Any, attrs: Mapping[str, Any]) -> None:
        self._declared = [np.asarray(attrs[name]) for name in ("action_low", "action_high") if name in attrs]
        if task is not None and not self._declared:
            self._declared = [task.action_space.low, task.action_space.high]
        self._seen: np.ndarray | None = None  # (2, a)

    def add(self, actions: np.ndarray) -> None:
        if len(actions):
            rows = actions if self._seen is None else np.concatenate([actions, self._seen])
            self._seen = np.stack([rows.min(axis=0), rows.max(axis=0)])

    def attrs(self, source: Path) -> dict[str, list[float]]:
        if self._seen is None:
            raise BadFile(f"{source}: no episode has an action that leads to another row")
        low, high = self._seen
        if self._declared and self._declared[0].shape == low.shape:
            least, greatest = self._declared
            if (low >= least).all() and (high <= greatest).all():
                low, high = least, greatest
        return {"action_low": low.tolist(), "action_high": high.tolist()}
