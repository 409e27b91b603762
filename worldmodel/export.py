"""Models as graphs for other programs: ONNX, which needs no torch to run, and torch.export.

Actions are in the environment's units there, rows any number; ``config.json`` beside the graphs says the rest.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import worldmodel
from worldmodel.errors import MissingExtra, UnknownName, WorldModelError
from worldmodel.files import replacing, write_json
from worldmodel.graphs import Graph, graphs
from worldmodel.model import WorldModel

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
        for name, graph in graphs(model).items():
            path = temporary / f"{name}{FORMATS[format]}"
            run = _write_onnx(path, graph) if format == "onnx" else _write_torch(path, graph)
            difference[name] = _compare(name, graph, run)
            files[name] = {"file": path.name, "inputs": graph.inputs, "output": graph.output}
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


def _trace(graph: Graph) -> torch.export.ExportedProgram:
    example = graph.example(3, graph.longest)  # no free axis may be of length 1 here: torch would take it for fixed
    program = torch.export.export(graph.module, (), example, dynamic_shapes=dict(graph.dynamic))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


def _write_torch(path: Path, graph: Graph) -> Callable[[dict[str, Tensor]], Tensor]:
    torch.export.save(_trace(graph), path)
    written = torch.export.load(path).module()
    return lambda inputs: written(**inputs)


def _write_onnx(path: Path, graph: Graph) -> Callable[[dict[str, Tensor]], Tensor]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("exporting to ONNX", "onnx") from error
    options: Any = {"dynamic_shapes": dict(graph.dynamic), "output_names": [graph.output]}
    program = torch.onnx.export(_trace(graph), dynamo=True, opset_version=_OPSET, verbose=False, **options)
    assert program is not None
    program.model.ir_version = _IR
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])


def _compare(name: str, graph: Graph, run: Callable[[dict[str, Tensor]], Tensor]) -> float:
    """Return the largest difference from the model, relative to its largest answer; refuse what is no rounding."""
    worst = 0.0
    for m, length in ((1, 1), (2, graph.longest), (5, min(2, graph.longest))):
        inputs = graph.example(m, length)
        expected = graph.module(**inputs)
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
