"""What is shown while training: sections and pictures, in TensorBoard and Weights & Biases, and warnings in peace."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from worldmodel.cli import common
from worldmodel.cli.progress import PICTURE, Progress
from worldmodel.errors import MissingExtra
from worldmodel.run import RunConfig

CONFIG = RunConfig(env="two-room", recipe="wm", preset="nano", dataset="data/two-room.h5")
TRAINING = {"loss": 1.5, "sigreg": 2.0, "lr": 1e-3}
VALIDATION = {"std": 1.0, "prefix_error_5": 0.5, "probe_linear": 0.9, "probe_pixels_mlp": 0.8, "probe_mlp_agent_x": 0.7}
TAGS = {
    "train/loss", "train/sigreg", "train/lr", "validation/std", "validation/prefix_error_5",
    "probe/linear", "probe/pixels/mlp", "probe/mlp/agent_x",
}  # fmt: skip


def show(out: Path, **options: Any) -> None:
    picture = np.full((32, 48, 3), 128, np.uint8)
    with Progress(out, CONFIG, lambda: picture, **options) as progress:
        progress(5, TRAINING)
        progress(10, VALIDATION)


def test_tensorboard_has_sections_and_the_picture_of_a_validation(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    show(tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == TAGS and events.Tags()["images"] == [PICTURE]
    assert [(e.step, e.value) for e in events.Scalars("validation/prefix_error_5")] == [(10, 0.5)]
    assert [(e.step, e.width, e.height) for e in events.Images(PICTURE)] == [(10, 48, 32)]


class Wandb(SimpleNamespace):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logs: list[tuple[int, set[str]]] = []
        self.codes: list[int] = []

    def init(self, **options: Any) -> Wandb:
        self.inits.append(options)
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logs.append((step, set(values)))

    def finish(self, exit_code: int) -> None:
        self.codes.append(exit_code)

    def Image(self, picture: np.ndarray) -> tuple[int, ...]:
        return picture.shape


def test_wandb_gets_the_same_and_a_resumed_run_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    show(tmp_path, wandb=True)
    assert wandb.logs[0] == (5, {f"train/{name}" for name in TRAINING})
    assert wandb.logs[1][0] == 10 and wandb.logs[0][1] | wandb.logs[1][1] == TAGS | {PICTURE}
    with pytest.raises(KeyboardInterrupt), Progress(tmp_path, CONFIG, wandb=True) as progress:
        progress(15, TRAINING)
        raise KeyboardInterrupt
    assert wandb.codes == [0, 1]
    first, second = wandb.inits
    assert first["id"] == second["id"] and first["resume"] == "allow" and first["config"]["env"] == "two-room"
    show(tmp_path / "other", wandb=True)
    assert wandb.inits[2]["id"] != first["id"]


def test_a_missing_wandb_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"--wandb needs .*: pip install 'worldmodel\[wandb\]'"):
        Progress(tmp_path, CONFIG, wandb=True)


def test_warnings_are_lines_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "bar", lambda total, unit, desc: tqdm(total=total, desc=desc, file=sys.stderr))
    with Progress(tmp_path, CONFIG) as progress:
        progress.bar.refresh()
        logging.getLogger("worldmodel.cli.validation").warning("the latents collapsed")
    lines = [part.strip() for part in capsys.readouterr().err.replace("\r", "\n").splitlines()]
    assert "the latents collapsed" in lines and any(line.startswith("train two-room") for line in lines)
