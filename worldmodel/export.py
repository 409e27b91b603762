"""Models as graphs for other programs: ONNX, which needs no torch to run, and torch.export.

Actions are in the environment's units there, rows any number; ``config.json`` beside the graphs says the rest.

Shapes: M rows, T frames given, C context frames, L actions given, K = max_prefix, n steps asked for, S pixels,
D latent width, a action size, F action block, A = F * a.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

import worldmodel
from worldmodel.errors import MissingExtra, UnknownName, WorldModelError
from worldmodel.files import replacing, write_json
from worldmodel.model import WorldModel
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4  # of a graph's answers, relative to the largest number in the model's own
_OPSET, _IR = 18, 8  # of ONNX, which old runtimes read too (1.15 was tried)
_CHATTY = ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir")


def export_model(folder: str | Path, model: WorldModel, format: str = "onnx", **about: Any) -> dict[str, float]:
    """Write encoder and predictors as graphs, whole or not at all, once they answer as the model does.

    Each graph is compared with the model at other numbers of rows and lengths than it was traced with.

    Args:
        folder: replaced if it exists. It will hold one file for each part and ``config.json``.
        model: what to export; it is not changed.
        format: ``onnx`` or ``torch``.
        about: provenance for ``config.json``, such as ``env``.

    Returns:
        The largest difference from the model's own answers, by part.

    Raises:
        UnknownName: no such format.
        MissingExtra: ONNX and its runtime are not installed.
        WorldModelError: a graph answers differently.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    model = copy.deepcopy(model).cpu().eval()
    difference, files = {}, {}
    with replacing(folder) as temporary, torch.no_grad(), _quiet():
        temporary.mkdir()
        for name, part in _parts(model).items():
            path = temporary / f"{name}{FORMATS[format]}"
            run = _write_onnx(path, part) if format == "onnx" else _write_torch(path, part)
            difference[name] = _compare(name, part, run)
            files[name] = {"file": path.name, "inputs": part.inputs, "output": part.output}
        facts = {"format": 1, "worldmodel": worldmodel.__version__, **about, **_facts(model), "graphs": files}
        write_json(temporary / "config.json", facts)
    return difference


def _facts(model: WorldModel) -> dict[str, Any]:
    """What a program needs to know in order to plan with the graphs."""
    c = model.config
    sizes = ("image_size", "latent_dim", "context", "action_dim", "action_block")
    actions = ("action_mean", "action_std", "action_low", "action_high")
    return {
        **{name: getattr(c, name) for name in sizes},
        "max_prefix": max(model.predictor(name).max_prefix for name in model.predictors),
        **{name: getattr(model, name).tolist() for name in actions},
    }


# The graphs


class _Encode(nn.Module):
    """``pixels`` uint8 (M, S, S, 3) -> z (M, D)."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.layers = nn.Sequential(model.pixels, model.encoder, model.projector)

    def forward(self, pixels: Tensor) -> Tensor:
        z: Tensor = self.layers(pixels)
        return z


class _OneStep(nn.Module):
    """``z`` (M, L, D), oldest first, and the ``actions`` (M, L, A) taken there -> the next z (M, D); 1 <= L <= C."""

    def __init__(self, model: WorldModel, part: OneStep) -> None:
        super().__init__()
        self.normalise, self.part = _Normalise(model), part

    def forward(self, z: Tensor, actions: Tensor) -> Tensor:
        out: Tensor = self.part(z, self.normalise(actions))
        return out[:, -1]


class _Prefix(nn.Module):
    """``z`` (M, T, D), oldest first, next ``actions`` (M, L, A), ``steps`` int64 (n,) -> z after those (M, n, D).

    Steps count from 1; L <= K. The last C of z are read; where there are fewer, the oldest stands in for what is
    missing.
    """

    recent: Tensor

    def __init__(self, model: WorldModel, part: Prefix) -> None:
        super().__init__()
        self.normalise, self.part = _Normalise(model), part
        self.register_buffer("recent", torch.arange(-part.context, 0))

    def forward(self, z: Tensor, actions: Tensor, steps: Tensor) -> Tensor:
        anchor = z.index_select(1, (self.recent + z.shape[1]).clamp(min=0))
        tokens = self.part.prefixes(anchor, self.normalise(actions)).index_select(1, steps - 1)
        now = anchor[:, -1:].expand_as(tokens)
        out: Tensor = self.part(now.flatten(0, 1), tokens.flatten(0, 1))
        return out.view_as(tokens)


class _Normalise(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        F = model.config.action_block
        self.register_buffer("mean", model.action_mean.repeat(F))
        self.register_buffer("std", model.action_std.repeat(F))

    def forward(self, actions: Tensor) -> Tensor:
        return (actions - self.mean) / self.std


@dataclass(frozen=True)
class _Part:
    """A graph to be: ``example(M, L)`` makes inputs, ``dynamic`` names the axes of each that may have any length."""

    module: nn.Module
    output: str
    dynamic: Mapping[str, dict[int, Any]]
    longest: int  # L
    example: Callable[[int, int], dict[str, Tensor]]

    @property
    def inputs(self) -> dict[str, list[str | int]]:
        """Shape of every input, names standing for what is free."""
        example = self.example(2, self.longest)
        return {
            name: [getattr(axes.get(i), "__name__", size) for i, size in enumerate(example[name].shape)]
            for name, axes in self.dynamic.items()
        }


def _parts(model: WorldModel) -> dict[str, _Part]:
    c, width = model.config, model.config.action_block * model.config.action_dim
    S, C, D = c.image_size, c.context, c.latent_dim
    random = torch.Generator().manual_seed(0)
    batch = Dim("batch")

    def pixels(m: int, length: int) -> dict[str, Tensor]:
        return {"pixels": torch.randint(0, 256, (m, S, S, 3), generator=random, dtype=torch.uint8)}

    def context(m: int, length: int) -> dict[str, Tensor]:
        blocks = model.denormalise(torch.randn(m, length, width, generator=random))
        return {"z": torch.randn(m, length, D, generator=random), "actions": blocks}

    def plans(m: int, length: int) -> dict[str, Tensor]:
        frames = max(1, C + m - 2)  # fewer than C, as many, and more
        steps = torch.arange(1, length + 1) if m % 2 else torch.tensor([length])
        return {**context(m, length), "z": torch.randn(m, frames, D, generator=random), "steps": steps}

    def upto(name: str, most: int) -> dict[int, Any]:
        return {0: batch, 1: Dim(name, max=most)} if most > 1 else {0: batch}

    parts = {"encoder": _Part(_Encode(model), "z", {"pixels": {0: batch}}, 1, pixels)}
    for name in model.predictors:
        part = model.predictor(name)
        if isinstance(part, OneStep):
            free = upto("length", C)
            parts[name] = _Part(_OneStep(model, part), "z_next", {"z": free, "actions": free}, C, context)
        else:
            K = part.max_prefix
            steps = {0: Dim("chosen")} if K > 1 else {}
            axes = {"z": {0: batch, 1: Dim("frames")}, "actions": upto("horizon", K), "steps": steps}
            parts[name] = _Part(_Prefix(model, part), "z_after", axes, K, plans)
    return parts


# Writing


def _trace(part: _Part) -> torch.export.ExportedProgram:
    example = part.example(3, part.longest)  # no free axis may be of length 1 here: torch would take it for fixed
    program = torch.export.export(part.module, (), example, dynamic_shapes=dict(part.dynamic))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


def _write_torch(path: Path, part: _Part) -> Callable[[dict[str, Tensor]], Tensor]:
    torch.export.save(_trace(part), path)
    graph = torch.export.load(path).module()
    return lambda inputs: graph(**inputs)


def _write_onnx(path: Path, part: _Part) -> Callable[[dict[str, Tensor]], Tensor]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("exporting to ONNX", "onnx") from error
    options: Any = {"dynamic_shapes": dict(part.dynamic), "output_names": [part.output]}
    program = torch.onnx.export(_trace(part), dynamo=True, opset_version=_OPSET, verbose=False, **options)
    assert program is not None
    program.model.ir_version = _IR
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])


def _compare(name: str, part: _Part, run: Callable[[dict[str, Tensor]], Tensor]) -> float:
    """Return the largest difference from the model, relative to its largest answer; refuse what is no rounding."""
    worst = 0.0
    for m, length in ((1, 1), (2, part.longest), (5, min(2, part.longest))):
        inputs = part.example(m, length)
        expected = part.module(**inputs)
        difference = float((run(inputs) - expected).abs().amax() / expected.abs().amax().clamp(min=1))
        if not difference <= TOLERANCE:  # or is not a number
            raise WorldModelError(
                f"the exported {name} differs from the model by {difference:.1e} of its largest number"
            )
        worst = max(worst, difference)
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the exporters tell their developers."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
