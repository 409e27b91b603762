"""Weights in the layout of the released LeWM (2603.19312) and Fast-LeWM (2606.26217), read and written.

One table says what our modules are called there, and reading and writing both follow it.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from worldmodel.config import ModelConfig
from worldmodel.errors import BadFile, BadValue, WorldModelError
from worldmodel.files import replacing
from worldmodel.model import WorldModel
from worldmodel.plain import flat
from worldmodel.recipes import settings

_TRAINING_ONLY = {"env", "dropout", "every_start", "shapes_encoder", "imagines"}  # settings that weights do not hold

# Ours, theirs. A * is a number; names in braces are pieces of one tensor of ours.
_NAMES = """
    encoder.patches                           encoder.embeddings.patch_embeddings.projection
    encoder.cls                               encoder.embeddings.cls_token
    encoder.position                          encoder.embeddings.position_embeddings
    encoder.norm                              encoder.layernorm
    projector.*                               projector.net.*

    parts.one-step.action.0                   action_encoder.patch_embed
    parts.one-step.action.1                   action_encoder.embed.0
    parts.one-step.action.3                   action_encoder.embed.2
    parts.one-step.position                   predictor.pos_embedding
    parts.one-step.blocks.*.mixer.norm        predictor.transformer.layers.*.attn.norm
    parts.one-step.blocks.*.mixer.qkv         predictor.transformer.layers.*.attn.to_qkv
    parts.one-step.blocks.*.mixer.out         predictor.transformer.layers.*.attn.to_out.0
    parts.one-step.blocks.*.mlp.*             predictor.transformer.layers.*.mlp.net.*
    parts.one-step.blocks.*.modulation        predictor.transformer.layers.*.adaLN_modulation.1
    parts.one-step.norm                       predictor.transformer.norm
    parts.one-step.head.*                     pred_proj.net.*

    parts.prefix.action.0                     action_encoder.impl.token_proj
    parts.prefix.action.1                     action_encoder.impl.embed.0
    parts.prefix.action.3                     action_encoder.impl.embed.2
    parts.prefix.state.*                      action_encoder.impl.latent_proj.*
    parts.prefix.layers.*.attention.norm      action_encoder.impl.temporal_mixer.layers.*.attn.norm
    parts.prefix.layers.*.attention.qkv       action_encoder.impl.temporal_mixer.layers.*.attn.to_qkv
    parts.prefix.layers.*.attention.out       action_encoder.impl.temporal_mixer.layers.*.attn.to_out.0
    parts.prefix.layers.*.mlp.*               action_encoder.impl.temporal_mixer.layers.*.mlp.net.*
    parts.prefix.norm_layers                  action_encoder.impl.temporal_mixer.norm
    parts.prefix.norm_prefix                  action_encoder.impl.out_norm
    parts.prefix.fusion.0                     predictor.action_fusion_norm
    parts.prefix.fusion.1                     predictor.action_fusion_mlp.0
    parts.prefix.fusion.3                     predictor.action_fusion_mlp.2
    parts.prefix.blocks.*.mixer.norm          predictor.transition_stack.layers.*.value_proj.norm
    parts.prefix.blocks.*.mixer.value         predictor.transition_stack.layers.*.value_proj.to_v
    parts.prefix.blocks.*.mixer.out           predictor.transition_stack.layers.*.value_proj.to_out.0
    parts.prefix.blocks.*.mlp.*               predictor.transition_stack.layers.*.mlp.net.*
    parts.prefix.blocks.*.modulation          predictor.transition_stack.layers.*.adaLN_modulation.1
    parts.prefix.norm                         predictor.transition_stack.norm
    parts.prefix.head.*                       pred_proj.net.*
"""
_VIT = {  # by the major version of transformers, whose ViTModel the encoder is
    4: """
    encoder.blocks.*.norm_attention           encoder.encoder.layer.*.layernorm_before
    encoder.blocks.*.attention.qkv            encoder.encoder.layer.*.attention.attention.{query,key,value}
    encoder.blocks.*.attention.out            encoder.encoder.layer.*.attention.output.dense
    encoder.blocks.*.norm_mlp                 encoder.encoder.layer.*.layernorm_after
    encoder.blocks.*.mlp.0                    encoder.encoder.layer.*.intermediate.dense
    encoder.blocks.*.mlp.3                    encoder.encoder.layer.*.output.dense
""",
    5: """
    encoder.blocks.*.norm_attention           encoder.layers.*.layernorm_before
    encoder.blocks.*.attention.qkv            encoder.layers.*.attention.{q_proj,k_proj,v_proj}
    encoder.blocks.*.attention.out            encoder.layers.*.attention.o_proj
    encoder.blocks.*.norm_mlp                 encoder.layers.*.layernorm_after
    encoder.blocks.*.mlp.0                    encoder.layers.*.mlp.fc1
    encoder.blocks.*.mlp.3                    encoder.layers.*.mlp.fc2
""",
}


def read_published(path: str | Path) -> WorldModel:
    """Read a state dict of LeWM or Fast-LeWM, told apart by their names, as torch or safetensors file.

    Those of a Lightning checkpoint are found in it. Nothing in the file is executed. Depths, context, action and image
    size follow from the tensors, all else is as published. The action statistics are not part of the layout and stay
    at 0 and 1: call ``set_actions``.

    Raises:
        BadFile: the file is something else; names the tensor that is missing, extra or of another shape.
    """
    path = Path(path)
    found = _tensors(path)
    transformers = 5 if any(name.startswith("encoder.layers.") for name in found) else 4
    try:
        config = _config(found, transformers)
        with torch.device("meta"):
            expected = _exported(WorldModel(config).state_dict(), transformers)
        _same(found, expected)
    except WorldModelError as error:
        raise BadFile(f"{path} holds no published weights: {error}") from error
    model = WorldModel(config)
    state = model.state_dict()
    for ours, theirs in _names(state, transformers).items():
        pieces = [found[name] for name in theirs]
        state[ours] = (torch.cat(pieces) if len(pieces) > 1 else pieces[0]).reshape(state[ours].shape)
    model.load_state_dict(state)
    return model.eval()


def published_state(model: WorldModel, transformers: int = 4) -> dict[str, Tensor]:
    """Weights under their published names, copied; without the action statistics, which have no place there.

    Args:
        model: a LeWM or a Fast-LeWM as published, up to depths, context, action and image size.
        transformers: major version whose names the encoder gets, 4 or 5.

    Raises:
        BadValue: the layout cannot hold this model; says why.
    """
    if transformers not in _VIT:
        raise BadValue(f"transformers: expected 4 or 5, got {transformers}")
    if len(model.predictors) > 1:
        raise BadValue("published weights: expected a model with one predictor, one-step or prefix; this one has both")
    state = _exported(model.state_dict(), transformers)
    read = _kept(_config(state, transformers))
    for name, value in _kept(model.config).items():
        if read[name] != value:
            raise BadValue(f"published weights: expected model.{name} = {read[name]}, got {value}")
    return state


def write_published(path: str | Path, model: WorldModel, transformers: int = 4) -> None:
    """Write :func:`published_state` as a safetensors file, if ``path`` ends so, else as ``torch.save`` does.

    Raises:
        BadValue: the layout cannot hold this model; says why.
    """
    state = published_state(model, transformers)
    with replacing(path) as temporary:
        if Path(path).suffix == ".safetensors":
            temporary.write_bytes(to_bytes(state))
        else:
            whole = io.BytesIO()  # torch.save itself does not say that a disk is full
            torch.save(state, whole)
            temporary.write_bytes(whole.getvalue())


def _names(ours: Mapping[str, Tensor], transformers: int) -> dict[str, list[str]]:
    """Our names and theirs of every tensor; the action statistics are left out."""
    rows = [line.split() for line in (_NAMES + _VIT[transformers]).splitlines() if line]
    table = [(re.compile(re.escape(a).replace(r"\*", r"(\d+)") + r"(\.[a-z_]+)?"), b) for a, b in rows]
    names = {}
    for key in ours:
        if key.startswith("action_"):
            continue
        matches = ((pattern.fullmatch(key), theirs) for pattern, theirs in table)
        match, name = next(((match, theirs) for match, theirs in matches if match), (None, ""))
        if match is None:
            raise BadValue(f"published weights: there is no place for {key}; expected LeWM's or Fast-LeWM's parts only")
        *numbers, leaf = match.groups()
        for number in numbers:
            name = name.replace("*", number, 1)
        stem, _, pieces = name.rstrip("}").partition("{")
        names[key] = [stem + piece + (leaf or "") for piece in pieces.split(",")]
    return names


def _exported(state: Mapping[str, Tensor], transformers: int) -> dict[str, Tensor]:
    exported: dict[str, Tensor] = {}
    for ours, theirs in _names(state, transformers).items():
        pieces = state[ours].chunk(len(theirs)) if len(theirs) > 1 else [state[ours]]
        exported |= {name: piece.clone() for name, piece in zip(theirs, pieces)}
    if "action_encoder.patch_embed.weight" in exported:  # there a convolution of width 1
        exported["action_encoder.patch_embed.weight"].unsqueeze_(-1)
    return exported


def _config(found: Mapping[str, Tensor], transformers: int) -> ModelConfig:
    """The published model, as deep as the tensors are many, with the context, action and image size of their shapes."""

    def size(name: str, axis: int) -> int:
        if name not in found or axis >= found[name].ndim:
            raise BadFile(f"{name} is missing")
        return found[name].shape[axis]

    def depth(stem: str) -> int:
        return len({name.removeprefix(stem).split(".")[0] for name in found if name.startswith(stem)})

    if "predictor.pos_embedding" in found:
        config, width = settings("lewm", "paper")[0], size("action_encoder.patch_embed.weight", 1)
        context, blocks = size("predictor.pos_embedding", 1), depth("predictor.transformer.layers.")
    elif "action_encoder.impl.token_proj.weight" in found:
        config, width = settings("fast-lewm", "paper")[0], size("action_encoder.impl.token_proj.weight", 1)
        context, blocks = 1, depth("predictor.transition_stack.layers.")
    else:
        raise BadFile("neither predictor.pos_embedding (LeWM) nor action_encoder.impl.token_proj.weight (Fast-LeWM)")
    if width % config.action_block:
        raise BadFile(f"actions of {width} numbers, expected {config.action_block} primitive actions of equal width")
    patch = size("encoder.embeddings.patch_embeddings.projection.weight", 3)
    layers = depth("encoder.layers." if transformers == 5 else "encoder.encoder.layer.")
    return replace(
        config,
        image_size=patch * math.isqrt(max(1, size("encoder.embeddings.position_embeddings", 1) - 1)),
        action_dim=width // config.action_block,
        context=context,
        encoder=replace(config.encoder, patch=patch, depth=layers),
        one_step=config.one_step and replace(config.one_step, depth=blocks),
        prefix=config.prefix and replace(config.prefix, blocks=blocks),
    )


def _kept(config: ModelConfig) -> dict[str, Any]:
    """The settings that must survive writing and reading, by their dotted names."""
    return {name: value for name, value in flat(config).items() if name.split(".")[-1] not in _TRAINING_ONLY}


def _same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for what, names in (("is missing", expected.keys() - found.keys()), ("is foreign", found.keys() - expected.keys())):
        if names:
            others = f", and {len(names) - 1} more" if len(names) > 1 else ""
            raise BadFile(f"{min(names)} {what}{others}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise BadFile(f"{name}: expected shape {tuple(tensor.shape)}, got {tuple(found[name].shape)}")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadFile(f"no such file: {path}") from error
    except pickle.UnpicklingError as error:
        raise BadFile(
            f"{path} holds pickled objects, and loading it would run code of whoever wrote it: where its packages are "
            'installed and you trust it, torch.save(torch.load(FILE, weights_only=False).state_dict(), "weights.pt")'
        ) from error
    except Exception as error:  # what a damaged or foreign file makes torch raise is anything
        raise BadFile(f"{path} is not readable as weights") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):  # a Lightning checkpoint
        loaded = loaded["state_dict"]
        if any(str(name).startswith("model.") for name in loaded):  # the model, beside SIGReg's constants
            loaded = {name.removeprefix("model."): x for name, x in loaded.items() if str(name).startswith("model.")}
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise BadFile(f"{path} holds no state dict, which is names and tensors")
    for name, value in loaded.items():
        counts = name.endswith("num_batches_tracked")
        dense = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not dense or not (counts or (value.is_floating_point() and bool(value.isfinite().all()))):
            raise BadFile(f"{path} holds no weights: {name} is not a dense tensor of finite numbers")
    return dict(loaded)
