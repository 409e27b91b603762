"""Training: one plain loop whose every step depends only on (seed, step), so that a resumed run is the same run.

Shapes: B windows, T frames.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldmodel.config import TrainConfig
from worldmodel.errors import BadFile, UnknownName, WorldModelError
from worldmodel.files import replacing
from worldmodel.model import WorldModel
from worldmodel.terms import Loss

Sample = Callable[[int], Sequence[Mapping[str, Tensor]]]  # step -> groups of windows of one length each
Validate = Callable[[WorldModel], Mapping[str, float]]
Record = Callable[[int, Mapping[str, float]], None]  # step, numbers


def train(
    model: WorldModel,
    loss: Loss,
    config: TrainConfig,
    sample: Sample,
    folder: Path,
    validate: Validate | None = None,
    record: Record | None = None,
) -> int:
    """Train until ``config.steps`` or ``config.minutes``, resuming from ``folder/state`` when it is there.

    Args:
        model: trained in place.
        loss: the weighted terms.
        config: the optimisation.
        sample: returns the windows of a step, in groups of one length each; must depend on the step only.
        folder: run folder; receives ``metrics.jsonl`` and ``state/``.
        validate: numbers of held-out data, called now and then with the model in evaluation mode.
        record: called with every line of numbers, for a progress bar or TensorBoard.

    Returns:
        The number of optimiser steps done in total.

    Raises:
        WorldModelError: the loss became NaN or infinite; names the term. The last good state is kept.
        KeyboardInterrupt: after SIGINT or SIGTERM, once the step is finished and the state saved.
    """
    device = model.device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=native_bf16(config.precision, device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    step, elapsed = _resume(folder, model, optimizer)
    start = time.monotonic() - elapsed
    metrics = _Metrics(folder / "metrics.jsonl", step, record)
    model.train()
    with _interruptible() as interrupted:
        while step < config.steps:
            progress = max(step / config.steps, (time.monotonic() - start) / (60 * config.minutes or math.inf))
            if progress >= 1:
                break
            lr = config.lr * _schedule(progress, config)
            optimizer.param_groups[0]["lr"] = lr
            seed = config.seed * 1_000_003 + step
            torch.manual_seed(seed)  # dropout
            generator = torch.Generator(device).manual_seed(seed)  # SIGReg's directions, random plans

            with autocast:
                record_of_step = model.step(sample(step), generator)
            total, parts = loss(record_of_step, generator)
            optimizer.zero_grad()
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            if not torch.isfinite(norm):
                raise WorldModelError(
                    f"training diverged at step {step}: {_culprit(parts)}; the last good state is kept"
                )
            optimizer.step()
            step += 1

            if step % config.log_every == 0 or step == config.steps:
                values = {name: float(part.detach()) for name, part in parts.items()}
                metrics(step, {"loss": float(total.detach()), **values, "lr": lr, "grad_norm": float(norm)})
            if validate is not None and (step % config.validate_every == 0):
                metrics(step, validated(model, validate))
            if step % config.save_every == 0 or interrupted():
                save_state(folder, model, optimizer, step, time.monotonic() - start)
            if interrupted():
                raise KeyboardInterrupt
    save_state(folder, model, optimizer, step, time.monotonic() - start)
    model.eval()
    return step


def native_bf16(precision: str, device: torch.device) -> bool:
    """Decide whether to train in bfloat16: ``auto`` does where the hardware multiplies it natively.

    Raises:
        UnknownName: the precision is none of fp32, bf16, auto.
    """
    if precision not in ("fp32", "bf16", "auto"):
        raise UnknownName("precision", precision, ("fp32", "bf16", "auto"))
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)  # a check this torch lacks says False
    supported = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    return supported is not None and bool(supported(including_emulation=False))


def validated(model: WorldModel, validate: Validate) -> dict[str, float]:
    """Call ``validate`` with the model in evaluation mode and without gradients."""
    model.eval()
    with torch.inference_mode():
        values = dict(validate(model))
    model.train()
    return values


def _schedule(progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to ``final_lr``; the factor of the learning rate at ``progress`` in [0, 1)."""
    if progress < config.warmup:
        return max(progress / config.warmup, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup)))
    return config.final_lr + (1 - config.final_lr) * cosine


def _culprit(parts: Mapping[str, Tensor]) -> str:
    broken = [name for name, part in parts.items() if not torch.isfinite(part)]
    return f"loss term {', '.join(broken)} is not finite" if broken else "the gradient is not finite"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag, so that a step is never cut in half."""
    caught: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {s: signal.signal(s, lambda number, frame: caught.append(number)) for s in signals}
    except ValueError:  # not in the main thread: leave signals alone
        before = {}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Resumable state


def save_state(folder: Path, model: WorldModel, optimizer: torch.optim.Optimizer, step: int, elapsed: float) -> None:
    """Write ``folder/state/state.pt`` atomically: weights, optimiser, step and seconds trained."""
    with replacing(folder / "state" / "state.pt") as temporary:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "elapsed": elapsed}
        whole = io.BytesIO()  # torch.save itself does not say that a disk is full
        torch.save(state, whole)
        temporary.write_bytes(whole.getvalue())


def _resume(folder: Path, model: WorldModel, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    path = folder / "state" / "state.pt"
    if not path.exists():
        return 0, 0.0
    try:
        state: dict[str, Any] = torch.load(path, map_location=model.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise BadFile(f"{path} cannot be resumed ({str(error).splitlines()[0]}): give another --out") from error
    return int(state["step"]), float(state["elapsed"])


class _Metrics:
    """Appends lines of numbers to ``metrics.jsonl``; a resumed run first drops the lines after its state."""

    def __init__(self, path: Path, step: int, record: Record | None) -> None:
        self.path, self.record = path, record
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = [line for line in path.read_text().splitlines(keepends=True) if _step_of(line) <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(lines))

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.record is not None:
            self.record(step, values)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line cut short by a kill
