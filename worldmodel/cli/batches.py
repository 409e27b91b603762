"""Windows for every training step, drawn from (seed, step) alone, whatever came before and however many ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from worldmodel import distributed
from worldmodel.cli import common
from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.mirrors import Mirroring
from worldmodel.datasets.on_device import FramesOnDevice, fits_on
from worldmodel.datasets.shifts import shifted
from worldmodel.datasets.stream import FrameStream, frames_of
from worldmodel.datasets.windows import Windows, action_bounds
from worldmodel.errors import BadValue
from worldmodel.settling import Latents

if TYPE_CHECKING:
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.model import WorldModel
    from worldmodel.run import RunConfig

Group = Mapping[str, torch.Tensor]
Sample = Callable[[int], list[Group]]
MORE = 4  # times as many windows in a step, where no frame passes the encoder


class Batches:
    """The windows of a step, in groups of one length each.

    Every process draws the same indices and takes every so many-th of them, so that all together see the batch that
    one process alone would see.

    Args:
        store: the dataset; it may be closed afterwards.
        config: of the run.
        device: where the windows are wanted. An accelerator keeps all frames, if they fit.

    Raises:
        BadValue: the windows of a group cannot be shared by this many processes, or the actions cannot be mirrored.
    """

    def __init__(self, store: EpisodeStore, config: RunConfig, device: torch.device) -> None:
        self.seed, self.device = config.train.seed, device
        self.present, self.block, self.ahead = config.model.context - 1, config.model.action_block, config.train.ahead
        length, stride = config.train.window, config.model.action_block
        self.rows, self.shown = store.rows, "pixels"
        self.mirroring = Mirroring(config.env if config.train.mirror else "")
        if self.mirroring:
            with common.options_as_fields():
                self.mirroring.require_alike(*action_bounds(store))
        furthest = config.train.shift * config.model.image_size
        self.shift = max(1, int(furthest)) if furthest else 0  # pixels
        columns = ("action", *(("reward", "terminated") if config.model.reward else ()))
        make = partial(Windows, store, "train", stride=stride, columns=columns)
        long, batch = config.train.long_windows, config.train.batch
        self.groups = [(make(length=length), long)]
        if long < batch:
            self.groups.append((make(length=config.model.context + 1), batch - long))
        self.cut = [make(length=shorter, cut=True) for shorter in range(2, length)] if config.train.ragged else []
        with common.bar(None, "frames", "decoding") as line:
            frames = frames_of(store, progress=partial(common.move, line))
        self.frames: FrameCache | FrameStream | FramesOnDevice | Latents = frames
        if isinstance(frames, FrameCache) and fits_on(device, store):
            self.frames = FramesOnDevice(frames, device)
        size = distributed.size()
        if any(count % size for _, count in self.groups):
            counts = " and ".join(f"{count}" for _, count in self.groups)
            following = (replace(config.train, batch=n) for n in range(batch, batch + 64 * size))
            fit = next((x.batch for x in following if not (x.long_windows % size or x.batch % size)), None)
            raise BadValue(
                f"--train.batch: its {counts} windows of one length cannot be shared by {size} processes"
                + (f"; expected such as {fit}" if fit else "; give another --train.long-share")
            )

    def __call__(self, step: int) -> list[Group]:
        """This process's windows of a step, on the device."""
        rng = np.random.default_rng((self.seed, step))
        far = np.random.default_rng((self.seed, step, 1))  # of its own: windows are those without goals
        mirrors, shifts = (np.random.default_rng((self.seed, step, which)) for which in (2, 3))
        mine = slice(distributed.rank(), None, distributed.size())
        groups: list[Group] = []
        for windows, count in self._choose(rng):
            indices = rng.integers(len(windows), size=count)[mine]
            group = self._windows(windows, indices)
            if self.ahead:
                group |= self._goals(windows, indices, far.random(count)[mine])
            held = mirrors.random((len(self.mirroring), count)) < 0.5
            group = self.mirroring(group, held[:, mine])
            if self.shift:
                group = shifted(group, shifts.integers(-self.shift, self.shift + 1, (2, count))[:, mine])
            groups.append(group)
        return groups

    def _choose(self, rng: np.random.Generator) -> list[tuple[Windows, int]]:
        """The groups of a step; with windows cut short, one length, as often as there are windows of it."""
        if not self.cut:
            return self.groups
        ((whole, count),) = self.groups
        lengths = [whole, *self.cut]
        places = np.cumsum([len(windows) for windows in lengths])
        return [(lengths[int(np.searchsorted(places, rng.integers(places[-1]), side="right"))], count)]

    def settled(self, model: WorldModel) -> Batches:
        """The same for a model whose encoder stands still: more windows, of its latents ``z`` instead of ``pixels``."""
        batches = copy(self)
        batches.frames, batches.shown = Latents(model, self.rows, self._gather), "z"
        batches.mirroring, batches.shift = Mirroring(""), 0  # a row is encoded in one way only
        batches.groups = [(windows, MORE * count) for windows, count in self.groups]
        return batches

    def _windows(self, windows: Windows, indices: np.ndarray) -> dict[str, torch.Tensor]:
        group = {name: self._moved(torch.from_numpy(values)) for name, values in windows.batch(indices).items()}
        return {self.shown: self._gather(windows.frame_rows(indices)), **group}

    def _goals(self, windows: Windows, indices: np.ndarray, far: np.ndarray) -> Group:
        """A later frame of each window's episode, and how many model steps after frame C it is.

        Distances are log-uniform from one model step to the furthest: near goals ask for precision, and far ones look
        alike.
        """
        steps = (self.block * ((self.ahead + 1) / self.block) ** far).astype(np.int64)
        rows = windows.later_rows(indices, self.present, steps)
        ahead = (rows - windows.frame_rows(indices)[:, self.present]) / np.float32(self.block)
        return {"goal": self._gather(rows), "ahead": self._moved(torch.from_numpy(ahead.astype(np.float32)))}

    def _gather(self, rows: np.ndarray) -> torch.Tensor:
        frames = self.frames.gather(rows)
        return self._moved(torch.from_numpy(frames)) if isinstance(frames, np.ndarray) else frames

    def _moved(self, values: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":  # from pinned memory the copy does not wait
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)


@contextmanager
def prefetched(sample: Sample, device: torch.device) -> Iterator[Sample]:
    """Prepare the next step's windows in a thread while an accelerator computes; a processor has no time to spare."""
    if device.type == "cpu":
        yield sample
        return
    with ThreadPoolExecutor(1) as thread:
        prepared: dict[int, Future[list[Group]]] = {}

        def next_of(step: int) -> list[Group]:
            windows = prepared.pop(step, None) or thread.submit(sample, step)
            prepared.clear()
            prepared[step + 1] = thread.submit(sample, step + 1)
            return windows.result()

        yield next_of
