"""Training: one plain loop whose every step depends only on (seed, step), so that a resumed run is the same run.

Shapes: B windows, T frames.
"""

from __future__ import annotations

import io
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worldmodel import distributed
from worldmodel.calibration import calibrate, calibrated
from worldmodel.config import TrainConfig
from worldmodel.errors import BadFile
from worldmodel.files import replacing
from worldmodel.health import Health
from worldmodel.model import WorldModel
from worldmodel.precision import native_bf16
from worldmodel.settling import standing_still
from worldmodel.terms import Loss

Windows = Sequence[Mapping[str, Tensor]]  # groups of windows of one length each
Sample = Callable[[int], Windows]  # step -> the windows of this process
Settled = Callable[[WorldModel], Sample]  # the same of a model's latents
Validate = Callable[[WorldModel], Mapping[str, float]]
Record = Callable[[int, Mapping[str, float]], None]  # step, numbers


class Trained(NamedTuple):
    """How a training ended."""

    steps: int
    report: dict[str, float]


def train(
    model: WorldModel,
    loss: Loss,
    config: TrainConfig,
    sample: Sample,
    folder: Path,
    validate: Validate | None = None,
    record: Record | None = None,
    begin: int = 0,
    settled: Settled | None = None,
) -> Trained:
    """Train until ``config.steps`` or ``config.minutes``, resuming from ``folder/state`` when it is there.

    In the last ``config.settle`` of it the encoder stands still, and the predictors and heads learn from its latents:
    they catch up with what it has become, and see far more windows. The learning rate rises and falls once more.

    What is there may be the end of another training, whose weights and optimiser then go on: from step ``begin`` on,
    steps, minutes and the learning-rate schedule count anew.

    In several processes (``worldmodel.distributed``) each gives its share of every batch, and the first one validates
    and writes.

    Args:
        model: trained in place.
        loss: the weighted terms.
        config: the optimisation.
        sample: returns the windows of a step, in groups of one length each; must depend on the step only.
        folder: run folder; receives ``metrics.jsonl`` and ``state/``.
        validate: numbers of held-out data, called now and then with the model in evaluation mode.
        record: called with every line of numbers, for a progress bar or TensorBoard.
        begin: steps that were done before this training.
        settled: samples of latents, for the time when the encoder stands still; without it, it learns to the end.

    Returns:
        The optimiser steps done in total, and what ``validate`` says at the end.

    Raises:
        WorldModelError: the loss became NaN or infinite, or exploded, or ends far above its lowest value; names the
            term. The last good state is kept.
        KeyboardInterrupt: after SIGINT or SIGTERM, once the step is finished and the state saved.
    """
    device, first = model.device, distributed.rank() == 0
    if config.compile:
        for part in (model.encoder, model.projector, *model.parts.values()):
            part.compile()
    config = config if settled is not None else replace(config, settle=0.0)
    objective = distributed.averaging(_Objective(model, loss, config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    step, elapsed = _resume(folder, model, optimizer)
    elapsed = elapsed if step > begin else 0.0
    optimizer.param_groups[0]["weight_decay"] = config.weight_decay  # which a resumed run may change
    start = time.monotonic() - elapsed
    metrics = _Metrics(folder / "metrics.jsonl", step, record) if first else None
    health = Health(loss.weights, folder)
    model.train()
    with _interruptible() as interrupted, ExitStack() as stack:
        while True:
            passed = (time.monotonic() - start) / (60 * config.minutes or math.inf)
            progress, stop = distributed.maximum(max((step - begin) / config.steps, passed), float(interrupted()))
            if settled is not None and config.settle and progress >= 1 - config.settle:
                calibrate(model, _forward(model, config, sample), model.encoder, model.projector)
                sample, settled = settled(model), None
                stack.enter_context(standing_still(model.encoder, model.projector))
                objective = distributed.averaging(_Objective(model, loss.without("sigreg"), config))
            if progress >= 1 or stop:
                break
            lr = config.lr * _schedule(progress, config)
            optimizer.param_groups[0]["lr"] = lr
            total, parts = objective(sample(step), _chance(config, step, device))
            optimizer.zero_grad()
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            health.check(step, float(total.detach()), parts, float(norm))
            optimizer.step()
            model.update()
            step += 1

            if step % config.log_every == 0 or step == begin + config.steps:
                values = {"loss": total, **parts}
                values = distributed.mean({name: float(value.detach()) for name, value in values.items()})
                if metrics:
                    metrics(step, {**values, "lr": lr, "grad_norm": float(norm)})
            if step % config.validate_every == 0:
                with calibrated(model, _forward(model, config, sample)):
                    if validate is not None and metrics:
                        metrics(step, validated(model, validate))
            if step % config.save_every == 0 and first and health.good:
                save_state(folder, model, optimizer, step, time.monotonic() - start)
    health.require(step)
    if first:
        save_state(folder, model, optimizer, step, time.monotonic() - start)
    distributed.barrier()  # nobody leaves before the state is there
    if stop:
        raise KeyboardInterrupt
    calibrate(model, _forward(model, config, sample))  # not in the state: a longer run goes on as if it had not ended
    report = {} if validate is None else validated(model, validate)
    if metrics and report and (metrics.last.get("step") != step or "loss" in metrics.last):  # else it stands there
        metrics(step, report)
    model.eval()
    return Trained(step, report)


def _chance(config: TrainConfig, step: int, device: torch.device) -> torch.Generator:
    torch.manual_seed((seed := config.seed * 1_000_003 + step) + distributed.rank() * 2**40)  # dropout
    return torch.Generator(device).manual_seed(seed)  # SIGReg's directions, random plans


def _forward(model: WorldModel, config: TrainConfig, sample: Sample) -> Callable[[int], object]:
    """A step's pass through the model in float32, as `calibrate` wants it."""
    return lambda step: model.step(sample(step), _chance(config, step, model.device), config.accumulate)


class _Objective(nn.Module):
    """Windows to the loss and its parts, as one module, which is what DistributedDataParallel wants."""

    def __init__(self, model: WorldModel, loss: Loss, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.loss, self.accumulate = model, loss, config.accumulate
        self.bf16 = native_bf16(config.precision, model.device)

    def forward(self, windows: Windows, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            record = self.model.step(windows, generator, self.accumulate)
        out: tuple[Tensor, dict[str, Tensor]] = self.loss(record, generator)
        return out


def validated(model: WorldModel, validate: Validate) -> dict[str, float]:
    """Call ``validate`` with the model in evaluation mode and without gradients."""
    model.eval()
    with torch.inference_mode():
        values = dict(validate(model))
    model.train()
    return values


def _schedule(progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to ``final_lr``, and again while the encoder stands still.

    Returns:
        The factor of the learning rate at ``progress`` in [0, 1).
    """
    joint = 1 - config.settle
    done = progress / joint if progress < joint else (progress - joint) / config.settle
    done /= config.schedule
    if done < config.warmup:
        return max(done / config.warmup, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))
    return config.final_lr + (1 - config.final_lr) * cosine


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag, so that a step is never cut in half; a second one does not wait.

    Several processes get both at once from a terminal and torchrun, and wait all the same.
    """
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        if caught and distributed.size() == 1:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {s: signal.signal(s, catch) for s in (signal.SIGINT, signal.SIGTERM)}
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


def saved_step(folder: Path) -> int:
    """Return the optimiser steps of the state in a run folder, 0 if there is none.

    Raises:
        BadFile: it is not readable.
    """
    return int(_saved(folder, "step"))


def saved_minutes(folder: Path) -> float:
    """Return the minutes trained until the state in a run folder, since it was last continued; 0 if there is none.

    Raises:
        BadFile: it is not readable.
    """
    return _saved(folder, "elapsed") / 60


def _saved(folder: Path, name: str) -> float:
    path = folder / "state" / "state.pt"
    try:
        return float(torch.load(path, map_location="cpu", weights_only=True, mmap=True)[name]) if path.exists() else 0
    except Exception as error:  # see below
        raise BadFile(f"{path} is damaged: give another --out") from error


def _resume(folder: Path, model: WorldModel, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    path = folder / "state" / "state.pt"
    if not path.exists():
        return 0, 0.0
    try:
        state: dict[str, Any] = torch.load(path, map_location=model.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["elapsed"])
    except Exception as error:  # what a damaged or foreign file makes torch raise is anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFile(f"{path} cannot be resumed ({reason}): give another --out") from error


class _Metrics:
    """Appends lines of numbers to ``metrics.jsonl``; a resumed run first drops the lines after its state."""

    def __init__(self, path: Path, step: int, record: Record | None) -> None:
        self.path, self.record = path, record
        self.last: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = [line for line in path.read_text().splitlines(keepends=True) if _step_of(line) <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(lines))
            self.last = json.loads(lines[-1]) if lines else {}

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        with open(self.path, "a") as file:
            finite = {name: value for name, value in values.items() if math.isfinite(value)}  # JSON knows no others
            self.last = {"step": step, **finite}
            file.write(json.dumps(self.last) + "\n")
        if self.record is not None:
            self.record(step, values)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line cut short by a kill
