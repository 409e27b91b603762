"""Model folders: ``config.json`` and ``model.safetensors``. Nothing in them is ever executed.

A decoder lies beside them in ``decoder.safetensors``, with its settings in the file's header. A model that is saved
anew replaces the folder, and a decoder of the one before goes with it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file

import worldmodel
from worldmodel.config import DecoderConfig, ModelConfig
from worldmodel.decoder import Decoder
from worldmodel.errors import BadFile, UnknownName, WorldModelError
from worldmodel.files import read_json, replacing, write_json
from worldmodel.model import WorldModel
from worldmodel.plain import from_dict, to_dict
from worldmodel.shipped import models

DECODER = "decoder.safetensors"
PRECISIONS = ("fp32", "bf16")  # of weights on disk; in memory they are float32
FORMAT = 4  # raised when a folder written today could not be read by yesterday's code


def save_model(folder: str | Path, model: WorldModel, precision: str = "fp32", **about: Any) -> None:
    """Write a model folder, whole or not at all.

    Args:
        folder: replaced if it exists.
        model: what to save; its normalisation lies in its buffers.
        precision: ``bf16`` rounds matrices and kernels, which halves the file. Vectors and buffers (biases, gains,
            batch and action statistics) stay exact: they are small, and an error in them is everywhere.
        about: provenance for ``config.json``, such as ``dataset`` and ``protocol``.

    Raises:
        UnknownName: the precision is neither fp32 nor bf16.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    rounded = {name for name, x in model.named_parameters() if x.ndim > 1} if precision == "bf16" else set()
    state = {name: x.bfloat16() if name in rounded else x for name, x in model.state_dict().items()}
    facts = {"format": FORMAT, "worldmodel": worldmodel.__version__, "precision": precision, **about}
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / "model.safetensors").write_bytes(save({name: x.contiguous() for name, x in state.items()}))
        write_json(temporary / "config.json", {**facts, "model": to_dict(model.config)})


def for_planning(model: WorldModel) -> WorldModel:
    """Return the model without what only its training needs: the inverse dynamics."""
    slim = WorldModel(replace(model.config, inverse=0)).to(model.device)
    slim.load_state_dict({name: x for name, x in model.state_dict().items() if not name.startswith("inverse.")})
    slim.about = model.about
    return slim.eval()


def model_folder(path: str | Path) -> Path:
    """Return the model folder at ``path``, itself or inside a run folder; or the model that ships for a task so named.

    Raises:
        BadFile: none of these is there.
    """
    path = Path(path)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    shipped, name = models(), path.as_posix()
    if not path.exists():
        if name in shipped:
            return shipped[name]
        raise BadFile(f"no such model or run folder: {path} (models ship for {', '.join(shipped) or 'no task'})")
    hides = f" (this folder hides the model that ships for {name})" if name in shipped else ""
    raise BadFile(f"{path} holds no model (config.json and model.safetensors): is its training still running?{hides}")


def read_about(path: str | Path) -> dict[str, Any]:
    """Return what ``config.json`` of a model or run folder says, without loading the weights.

    Raises:
        BadFile: missing, unreadable, or of a newer format.
    """
    folder = model_folder(path)
    about = read_json(folder / "config.json")
    if not isinstance(about, dict) or not isinstance(about.get("model"), dict):
        raise BadFile(f"{folder / 'config.json'} does not describe a world model")
    if not isinstance(about.get("format"), int) or about["format"] > FORMAT:
        raise BadFile(
            f"{folder} has format {about.get('format')}, this version reads up to {FORMAT}: upgrade worldmodel"
        )
    return about


def load_model(path: str | Path, device: str | torch.device = "cpu") -> WorldModel:
    """Load the model of a run or model folder, ready to plan (evaluation mode).

    Raises:
        BadFile: the folder is missing, incomplete or foreign.
    """
    folder = model_folder(path)
    about = read_about(folder)
    try:
        model = WorldModel(from_dict(ModelConfig, about["model"]))
        state = load_file(folder / "model.safetensors")
    except FileNotFoundError as error:
        raise BadFile(f"{folder} lacks model.safetensors") from error
    except (SafetensorError, WorldModelError, RuntimeError, TypeError, ValueError) as error:
        raise BadFile(f"{folder} is damaged: {str(error).splitlines()[0]}") from error
    wrong = sorted(set(state) ^ set(model.state_dict()))
    if wrong:
        raise BadFile(f"{folder}: weights do not fit the configuration, such as {wrong[0]}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BadFile(
            f"{folder}: weights do not fit the configuration: {str(error).splitlines()[-1].strip()}"
        ) from error
    model.about = {name: value for name, value in about.items() if name not in ("format", "worldmodel", "model")}
    return model.to(device).eval()


def save_decoder(path: str | Path, decoder: Decoder, **about: Any) -> Path:
    """Write a decoder beside the model of a run or model folder, whole or not at all; an older one is replaced.

    Args:
        path: of the model.
        decoder: what to save.
        about: provenance, such as ``steps`` and ``psnr``.
    """
    file = model_folder(path) / DECODER
    sizes = {"latent_dim": decoder.latent_dim, "image_size": decoder.image_size}
    told = {"format": 1, "worldmodel": worldmodel.__version__, **about, **sizes, "decoder": to_dict(decoder.config)}
    weights = {name: value.contiguous() for name, value in decoder.state_dict().items()}
    with replacing(file) as temporary:
        save_file(weights, temporary, {"about": json.dumps(told)})
    return file


def load_decoder(path: str | Path, device: str | torch.device = "cpu") -> Decoder | None:
    """Load the decoder of a run or model folder, ready to draw; None where the model has none.

    Raises:
        BadFile: no model is there, or its decoder is damaged or foreign.
    """
    file = model_folder(path) / DECODER
    if not file.is_file():
        return None
    again = f"make it again with wm-model decoder --model {path}"
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {})["about"])
        decoder = Decoder(from_dict(DecoderConfig, about["decoder"]), about["latent_dim"], about["image_size"])
        decoder.load_state_dict(load_file(file))
    except (SafetensorError, WorldModelError, RuntimeError, KeyError, TypeError, ValueError, OSError) as error:
        raise BadFile(f"{file} is damaged or of another version: {again}") from error
    decoder.about = about
    return decoder.to(device).eval()
