"""What a training shows while it runs: a bar, TensorBoard files and, if asked for, Weights & Biases."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.cli import common
from worldmodel.errors import MissingExtra
from worldmodel.files import replacing
from worldmodel.plain import to_dict
from worldmodel.run import RunConfig

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

PICTURE = "rollouts/recorded_then_nearest_held_out_frames"


class Progress:
    """Shows the numbers of a training as it records them.

    Args:
        out: the run folder, which receives the TensorBoard files.
        config: of the run.
        picture: what to show beside the numbers of a validation, (height, width, 3) uint8.
        wandb: show everything in Weights & Biases as well.

    Raises:
        MissingExtra: Weights & Biases is not installed.
    """

    def __init__(
        self, out: Path, config: RunConfig, picture: Callable[[], np.ndarray] | None = None, wandb: bool = False
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out, self.config, self.picture, self.make_writer = out, config, picture, SummaryWriter
        self.writer: SummaryWriter | None = None
        self.wandb = import_wandb() if wandb else None
        self.run: Any = None
        timed = config.train.minutes > 0
        self.bar = common.bar(
            total=None if timed else config.begin + config.train.steps, unit="step", desc=f"train {config.env}"
        )
        self.stack = ExitStack()

    def __enter__(self) -> Progress:
        from tqdm.contrib.logging import logging_redirect_tqdm

        self.stack.enter_context(logging_redirect_tqdm())  # warnings go above the bar
        self.stack.callback(self.bar.close)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()
        if self.run is not None:
            self.run.finish(exit_code=int(error[0] is not None))

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        if self.writer is None:
            # What an interrupted run drew from here on is dropped: a resumed one does these steps again.
            self.writer = self.make_writer(str(self.out), purge_step=step)
            self.stack.callback(self.writer.close)
            if self.wandb is not None:
                self.run = self.wandb.init(
                    settings={"console": "off", "quiet": True}, **wandb_options(self.out, self.config)
                )
        shown: dict[str, Any] = {tag(name, "loss" in values): value for name, value in values.items()}
        for name, value in shown.items():
            self.writer.add_scalar(name, value, step)
        if "loss" not in values and self.picture is not None:
            picture = self.picture()
            self.writer.add_image(PICTURE, picture, step, dataformats="HWC")
            if self.wandb is not None:
                shown[PICTURE] = self.wandb.Image(picture)
        if self.run is not None:
            self.run.log(shown, step=step)
        self.bar.update(step - self.bar.n)
        if "loss" in values:
            self.bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)


def tag(name: str, training: bool) -> str:
    """Put a number into a section: ``train/loss``, ``validation/prefix_error_5``, ``probe/linear/agent_x``."""
    if name.startswith("probe_"):
        return name.replace("_", "/", 2)
    return f"train/{name}" if training else f"validation/{name}"


def import_wandb() -> Any:
    """Import Weights & Biases.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise MissingExtra("--wandb", "wandb") from error
    return wandb


def wandb_options(out: Path, config: RunConfig) -> dict[str, Any]:
    """Arguments of ``wandb.init``; the run's id is kept in ``out/wandb.id``, so that a resumed run goes on there.

    A resumed run does the steps since its last state again, with the same results; Weights & Biases keeps the first.
    """
    path = out / "wandb.id"
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(secrets.token_hex(4))
    return {
        "project": "worldmodel",
        "name": out.name,
        "dir": str(out),
        "id": path.read_text().strip(),
        "resume": "allow",
        "config": to_dict(config),
    }
