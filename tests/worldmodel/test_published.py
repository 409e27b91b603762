"""Published weights: what is written is what is read, under the published names; all else is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadFile, BadValue
from worldmodel.model import WorldModel
from worldmodel.published import published_state, read_published, write_published
from worldmodel.recipes import settings


def published(recipe: str = "lewm", seed: int = 0) -> WorldModel:
    """A model as wide as the published one and less deep, in which no two tensors are alike."""
    config = settings(recipe, "paper")[0]
    config = replace(config, action_dim=3, image_size=28, encoder=replace(config.encoder, depth=2))
    if config.one_step is not None:
        config = replace(config, context=4, one_step=replace(config.one_step, depth=1))
    if config.prefix is not None:
        config = replace(config, prefix=replace(config.prefix, blocks=2))
    model = WorldModel(config)
    generator = torch.Generator().manual_seed(seed)
    for value in model.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=generator).mul(10))  # also what counts batches
    return model.eval()


@pytest.mark.parametrize("transformers", [4, 5])
@pytest.mark.parametrize(("recipe", "ending"), [("lewm", "pt"), ("lewm", "safetensors"), ("fast-lewm", "ckpt")])
def test_what_is_written_is_what_is_read(recipe: str, ending: str, transformers: int, tmp_path: Path) -> None:
    model, path = published(recipe), tmp_path / f"weights.{ending}"
    write_published(path, model, transformers)
    again = read_published(path)
    assert again.config == model.config and not again.training
    state = again.state_dict()
    for name, value in model.state_dict().items():
        if not name.startswith("action_"):
            assert torch.equal(state[name], value), name
    assert torch.equal(again.action_mean, torch.zeros(3)) and torch.equal(again.action_std, torch.ones(3))


@pytest.mark.parametrize(("recipe", "count"), [("lewm", 303), ("fast-lewm", 349)])
def test_the_published_number_of_tensors(recipe: str, count: int) -> None:
    with torch.device("meta"):
        model = WorldModel(settings(recipe, "paper")[0])
        for transformers in (4, 5):
            assert len(published_state(model, transformers)) == count


def test_published_names_and_shapes() -> None:
    old, new = published_state(published(), 4), published_state(published(), 5)
    weight = published().state_dict()["encoder.blocks.1.attention.qkv.weight"]
    for number, piece in enumerate(("query", "key", "value")):
        expected = weight[192 * number : 192 * (number + 1)]
        assert torch.equal(old[f"encoder.encoder.layer.1.attention.attention.{piece}.weight"], expected)
        assert torch.equal(new[f"encoder.layers.1.attention.{piece[0]}_proj.weight"], expected)
    assert old["action_encoder.patch_embed.weight"].shape == (10, 15, 1)
    assert old["encoder.encoder.layer.0.intermediate.dense.bias"].shape == (768,)
    assert new["encoder.layers.0.mlp.fc2.weight"].shape == (192, 768)
    assert old["predictor.transformer.layers.0.adaLN_modulation.1.weight"].shape == (1152, 192)
    fast = published_state(published("fast-lewm"))
    assert fast["action_encoder.impl.latent_proj.2.weight"].shape == (192, 768)
    assert fast["predictor.transition_stack.layers.1.value_proj.to_out.0.weight"].shape == (192, 1024)


def test_weights_in_a_lightning_checkpoint(tmp_path: Path) -> None:
    model = published()
    wrapped = {f"model.{name}": value for name, value in published_state(model).items()}
    checkpoint = {"epoch": 9, "state_dict": wrapped | {"sigreg.t": torch.zeros(17)}, "optimizer_states": []}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    again = read_published(tmp_path / "last.ckpt")
    assert torch.equal(again.encoder.position, model.encoder.position)  # type: ignore[arg-type]


def refused(path: Path, state: object) -> str:
    torch.save(state, path)
    with pytest.raises(BadFile) as caught:
        read_published(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_published_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pt", published_state(published())
    name = "predictor.transformer.norm.bias"
    assert f"{name} is missing" in refused(path, {k: v for k, v in state.items() if k != name})
    assert "encoder.pooler.dense.weight is foreign" in refused(
        path, state | {"encoder.pooler.dense.weight": torch.zeros(2)}
    )
    assert f"{name}: expected shape (192,), got (7,)" in refused(path, state | {name: torch.zeros(7)})
    assert "pred_proj.net.0.bias is missing, and 8 more" in refused(
        path, {k: v for k, v in state.items() if not k.startswith("pred_proj")}
    )
    assert "actions of 7 numbers" in refused(path, state | {"action_encoder.patch_embed.weight": torch.zeros(10, 7, 1)})
    assert "neither predictor.pos_embedding" in refused(path, {"weight": torch.zeros(2)})
    assert "names and tensors" in refused(path, {"state_dict": {"encoder.cls": 3}})
    assert "names and tensors" in refused(path, [1, 2])
    position = "encoder.embeddings.position_embeddings"
    for odd in (torch.zeros(192).to_sparse(), torch.zeros(192, device="meta"), torch.full((192,), torch.nan)):
        assert f"{name} is not a dense tensor of finite numbers" in refused(path, state | {name: odd})
    assert f"{name} is not a dense tensor" in refused(path, state | {name: torch.zeros(192, dtype=torch.complex64)})
    assert f"{position}: expected shape (1, 2, 192)" in refused(path, state | {position: torch.zeros(1, 0, 192)})
    for text in ("hello", ""):
        path.write_text(text)
        with pytest.raises(BadFile, match="not readable as weights"):
            read_published(path)
    path.rename(tmp_path / "a.safetensors")
    with pytest.raises(BadFile, match="not readable as weights"):
        read_published(tmp_path / "a.safetensors")
    with pytest.raises(BadFile, match="no such file"):
        read_published(path)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    line = refused(tmp_path / "lewm_object.ckpt", torch.nn.Linear(2, 2))
    assert "would run code" in line and ".state_dict()" in line


def test_a_model_the_layout_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="one predictor, one-step or prefix; this one has both"):
        write_published(tmp_path / "a.pt", tiny_model())
    with pytest.raises(BadValue, match="no place for encoder.layers.0.weight"):
        published_state(tiny_model(prefix=None))
    config = published().config
    with pytest.raises(BadValue, match="no place for inverse.0.weight"):
        published_state(WorldModel(replace(config, inverse=8)))
    assert config.one_step is not None
    with pytest.raises(BadValue, match=r"expected model.one_step.heads = 16, got 32"):
        published_state(WorldModel(replace(config, one_step=replace(config.one_step, heads=32, head_dim=32))))
    with pytest.raises(BadValue, match="transformers: expected 4 or 5, got 3"):
        published_state(published(), 3)
    assert not list(tmp_path.iterdir())
