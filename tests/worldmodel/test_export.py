"""Exported graphs answer as the model does, at numbers of rows and lengths they were not traced with."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.worldmodel.tiny import tiny_config, tiny_model
from worldmodel import export
from worldmodel.config import EncoderConfig, ModelConfig
from worldmodel.errors import MissingExtra, UnknownName, WorldModelError
from worldmodel.export import export_model
from worldmodel.files import read_json
from worldmodel.graphs import Graph
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.recipes import PRESETS, settings

HERE = str(Path(export.__file__).parent).encode()  # a graph names no file of the machine that made it
VIT = EncoderConfig(kind="vit", width=16, depth=2, heads=2, patch=8, projector=32)
TINY_PREFIX = tiny_config().prefix
assert TINY_PREFIX is not None

CASES: dict[str, ModelConfig] = {
    "nano": settings("wm", "nano")[0],
    "vit": tiny_config(context=3, encoder=VIT, prefix=replace(TINY_PREFIX, max_prefix=2)),
    "least": tiny_config(context=1, one_step=tiny_config().one_step, prefix=replace(TINY_PREFIX, max_prefix=1)),
    "paper": replace(PRESETS["paper"].model, context=3),  # both published predictors, K = 8
}


def awake(config: ModelConfig) -> WorldModel:
    """A model none of whose parts is left at its zero start, with actions that are far from normalised."""
    torch.manual_seed(0)
    model = WorldModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.1 * torch.randn_like(buffer)
    model.set_actions([0.1, -20.0], [0.3, 40.0], [-1, -100], [1, 100])
    return model


def opened(folder: Path) -> dict[str, Callable[..., Tensor]]:
    """The graphs of a folder as functions of tensors."""
    graphs = {name: folder / about["file"] for name, about in read_json(folder / "config.json")["graphs"].items()}

    def onnx(path: Path) -> Callable[..., Tensor]:
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return lambda **inputs: torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])

    return {
        name: onnx(path) if path.suffix == ".onnx" else torch.export.load(path).module()
        for name, path in graphs.items()
    }


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that the graphs of a folder say, unpacked."""
    for path in folder.iterdir():
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((name, archive.read(name)) for name in archive.namelist())
        else:
            yield path.name, path.read_bytes()


@pytest.mark.parametrize(
    ("case", "format"),
    [
        pytest.param("nano", "onnx", marks=pytest.mark.slow),
        pytest.param("vit", "onnx", marks=pytest.mark.slow),
        ("vit", "torch"),
        ("least", "torch"),
        pytest.param("paper", "onnx", marks=pytest.mark.slow),
    ],
)
def test_graphs_answer_as_the_model_for_any_rows_and_lengths(case: str, format: str, tmp_path: Path) -> None:
    config = CASES[case]
    model = awake(config)
    difference = export_model(tmp_path / "out", model, format)
    assert set(difference) == {"encoder", *model.predictors} and max(difference.values()) < 1e-5
    assert not [name for name, content in contents(tmp_path / "out") if b"site-packages" in content or HERE in content]
    graphs = opened(tmp_path / "out")
    C, D, S, A = config.context, config.latent_dim, config.image_size, config.action_block * config.action_dim
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for rows in (1, 3, 17):
            pixels = torch.randint(0, 256, (rows, S, S, 3), generator=random, dtype=torch.uint8)
            torch.testing.assert_close(
                graphs["encoder"](pixels=pixels), model.encode({"pixels": pixels[:, None]})[:, 0], rtol=0, atol=1e-5
            )
            for seen in range(1, C + 1):  # a context may be shorter than C
                z = torch.randn(rows, seen, D, generator=random)
                blocks = model.denormalise(torch.randn(rows, seen + 20, A, generator=random))
                context = Context(z, model.normalise(blocks[:, : seen - 1]))
                plans = model.normalise(blocks[:, None, seen - 1 :])
                torch.testing.assert_close(
                    graphs["one-step"](z=z, actions=blocks[:, :seen]),
                    model.predictor("one-step").rollout(context, plans[:, :, :1])[:, 0, 0],
                    rtol=0, atol=1e-5,
                )  # fmt: skip
                prefix = model.predictor("prefix")
                for horizon in {1, min(2, prefix.max_prefix), prefix.max_prefix}:
                    ahead = blocks[:, seen - 1 : seen - 1 + horizon]
                    expected = prefix.rollout(context, plans[:, :, :horizon])[:, 0]
                    found = graphs["prefix"](z=z, actions=ahead, steps=torch.arange(1, horizon + 1))
                    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
                    last = graphs["prefix"](z=z, actions=ahead, steps=torch.tensor([horizon]))
                    torch.testing.assert_close(last, expected[:, -1:], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    model = tiny_model(context=3)
    model.set_actions([0.1, 0.2], [0.3, 0.4], [-1, -2], [1, 2])
    export_model(out, model, "torch", env="two-room")
    return out


def test_the_description_is_all_that_a_program_needs(folder: Path) -> None:
    about = read_json(folder / "config.json")
    assert {name: about[name] for name in ("env", "image_size", "latent_dim", "context", "max_prefix")} == {
        "env": "two-room", "image_size": 16, "latent_dim": 16, "context": 3, "max_prefix": 4,
    }  # fmt: skip
    assert (about["action_dim"], about["action_block"]) == (2, 3)
    np.testing.assert_allclose([about[f"action_{name}"] for name in ("mean", "std")], [[0.1, 0.2], [0.3, 0.4]])
    assert (about["action_low"], about["action_high"]) == ([-1, -2], [1, 2])
    assert about["graphs"]["one-step"] == {
        "file": "one-step.pt2",
        "inputs": {"z": ["batch", "length", 16], "actions": ["batch", "length", 6]},
        "output": "z_next",
    }
    assert about["graphs"]["prefix"]["inputs"] == {
        "z": ["batch", "frames", 16], "actions": ["batch", "horizon", 6], "steps": ["chosen"],
    }  # fmt: skip
    files = {graph["file"] for graph in about["graphs"].values()}
    assert {path.name for path in folder.iterdir()} == files | {"config.json"}


def test_a_graph_without_the_other_predictor_and_a_model_that_trains(tmp_path: Path) -> None:
    model = tiny_model(prefix=None).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert set(export_model(tmp_path / "out", model, "torch")) == {"encoder", "one-step"}
    assert read_json(tmp_path / "out" / "config.json")["max_prefix"] == 1
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_graph_that_answers_differently_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path, graph: Graph) -> Callable[[dict[str, Tensor]], Tensor]:
        return lambda inputs: graph.module(**inputs) + (2e-4 if path.stem == "prefix" else 0)

    monkeypatch.setattr(export, "_write_torch", wrong)
    with pytest.raises(WorldModelError, match="the exported prefix differs from the model by 2.0e-04"):
        export_model(tmp_path / "out", tiny_model(), "torch")
    monkeypatch.setattr(export, "_write_torch", lambda path, graph: lambda inputs: torch.full((1,), torch.nan))
    with pytest.raises(WorldModelError, match="the exported encoder differs from the model by nan"):
        export_model(tmp_path / "out", tiny_model(), "torch")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="unknown format 'onxx': did you mean 'onnx'"):
        export_model(tmp_path / "out", tiny_model(), "onxx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'worldmodel\[onnx\]'"):
        export_model(tmp_path / "out", tiny_model(), "onnx")
    assert list(tmp_path.iterdir()) == []
