"""What a training shows while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.cli import common
from worldmodel.run import RunConfig

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Progress:
    """A bar on the terminal and TensorBoard files in the run folder."""

    def __init__(self, out: Path, config: RunConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out, self.make_writer = out, SummaryWriter
        self.writer: SummaryWriter | None = None
        timed = config.train.minutes > 0
        self.bar = common.bar(total=None if timed else config.train.steps, unit="step", desc=f"train {config.env}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        if self.writer is not None:
            self.writer.close()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        if self.writer is None:
            # What an interrupted run drew from here on is dropped: a resumed one does these steps again.
            self.writer = self.make_writer(str(self.out), purge_step=step)
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.bar.update(step - self.bar.n)
        if "loss" in values:
            self.bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
