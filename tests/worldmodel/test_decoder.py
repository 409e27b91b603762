"""The decoder learns from a model, and the model learns nothing from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import dot_batch, tiny_model
from worldmodel.checkpoint import load_decoder, load_model, model_folder, save_decoder, save_model
from worldmodel.config import DecoderConfig
from worldmodel.decoder import Decoder, psnr, reconstruction_error, train_decoder
from worldmodel.errors import BadFile, BadValue
from worldmodel.model import WorldModel

CONFIG = DecoderConfig(width=8, hidden=64, steps=150, batch=32, lr=5e-3)


def frames(step: int) -> torch.Tensor:
    return dot_batch(step % 1000, windows=CONFIG.batch, length=2)["pixels"][:, 0]


def new(model: WorldModel, config: DecoderConfig = CONFIG) -> Decoder:
    torch.manual_seed(0)
    return Decoder(config, model.config.latent_dim, model.config.image_size)


def test_it_learns_and_the_model_does_not() -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decoder, done = new(model), []
    assert train_decoder(decoder, model, frames, CONFIG, done.append) == CONFIG.steps
    assert done == sorted(done) and done[-1] == 1
    decoded, mean = reconstruction_error(decoder, model, frames(5000))
    assert decoded < 0.7 * mean and psnr(decoded) > psnr(mean)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_steps_make_the_same_decoder() -> None:
    made = []
    for _ in range(2):
        decoder = new(tiny_model())
        train_decoder(decoder, tiny_model(), frames, DecoderConfig(steps=3, width=8, hidden=8))
        made.append(decoder.pictures(torch.zeros(1, 16)))
    assert np.array_equal(*made)


def test_by_the_clock() -> None:
    model = tiny_model()
    config = DecoderConfig(minutes=1e-6, width=8, hidden=8)
    assert train_decoder(new(model, config), model, frames, config) == 1


@pytest.mark.parametrize("size", [8, 16, 28, 64, 96, 98, 224])
def test_pictures_of_every_size(size: int) -> None:
    decoder = Decoder(DecoderConfig(width=4, hidden=8), 16, size).eval()
    drawn = decoder.pictures(torch.randn(2, 3, 16))
    assert drawn.shape == (2, 3, size, size, 3) and drawn.dtype == np.uint8
    assert (drawn == 128).all()  # the mean picture, of nothing yet


def test_there_and_back_beside_a_model_that_stays_as_it_was(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(tmp_path / "model", model)
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert load_decoder(tmp_path) is None  # of a model without one
    decoder = new(model)
    torch.nn.init.normal_(decoder.paint[-2].weight)
    assert save_decoder(tmp_path, decoder, psnr=31.5) == tmp_path / "model" / "decoder.safetensors"
    again = load_decoder(tmp_path)
    assert again is not None and again.config == CONFIG and again.about["psnr"] == 31.5 and not again.training
    z = torch.randn(20, 16)
    assert np.array_equal(again.pictures(z), decoder.eval().pictures(z))
    assert {name: (tmp_path / "model" / name).read_bytes() for name in files} == files
    load_model(tmp_path)
    save_model(tmp_path / "model", model)  # perhaps another model: its decoder is gone
    assert load_decoder(tmp_path) is None


@pytest.mark.parametrize("damage", [b"x" * 99, b""])
def test_a_damaged_decoder_is_one_line(tmp_path: Path, damage: bytes) -> None:
    save_model(tmp_path, tiny_model())
    (model_folder(tmp_path) / "decoder.safetensors").write_bytes(damage)
    with pytest.raises(BadFile, match="wm-model decoder"):
        load_decoder(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"steps": -1}, {"minutes": 0.0}, {"minutes": float("inf")}, {"lr": 0.0}, {"seed": -1}]
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(BadValue, match=next(iter(wrong))):
        DecoderConfig(**wrong)
