"""One training step in double precision, by one process or by several that share the batch.

Run as ``python -m tests.worldmodel.ranks RANK SIZE FOLDER``: the loss, the gradients and the batch statistics of every
recipe go to ``FOLDER/RECIPE-RANK.pt``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from tests.worldmodel.tiny import TRAIN, dot_batch, tiny_config
from worldmodel import distributed
from worldmodel.config import EncoderConfig, LossConfig, ModelConfig
from worldmodel.model import WorldModel
from worldmodel.recipes import RECIPES
from worldmodel.terms import Loss
from worldmodel.training import _Objective


def tiny(name: str) -> tuple[ModelConfig, LossConfig]:
    """A recipe in tiny sizes, with every part that looks at the whole batch; no dropout, which processes draw apart."""
    what, sizes = RECIPES[name], tiny_config()
    assert sizes.one_step is not None and sizes.prefix is not None
    vit = EncoderConfig(kind="vit", width=16, depth=2, heads=2, patch=8, projector=32)
    prefix = replace(
        sizes.prefix,
        dropout=0.0,
        max_prefix=min(what.max_prefix, 4),
        every_start=what.every_start,
        shapes_encoder=what.prefix_shapes_encoder,
        imagines=what.loss.imagined != 0,
    )
    config = replace(
        sizes,
        context=what.context,
        encoder=sizes.encoder if name == "wm" else vit,  # a CNN has batch statistics of its own
        one_step=replace(sizes.one_step, dropout=0.0) if what.one_step else None,
        prefix=prefix if what.prefix else None,
        inverse=16 if what.loss.inverse else 0,
        reward=16,
        value=16,
        reflex=16,
    )
    return config, replace(what.loss, projections=32, reward=1.0, value=1.0, reflex=1.0)


def step(name: str) -> dict[str, torch.Tensor]:
    """Loss, gradients and buffers after one step on this process's share of the batch."""
    config, weights = tiny(name)
    torch.manual_seed(0)
    model = WorldModel(config).double()
    loss = Loss(weights, config.predictions).double()
    mine = slice(distributed.rank(), None, distributed.size())
    # At least 16 windows each: fewer are padded, and the running variance of one process then counts other rows.
    whole = [dot_batch(0, windows=32)]
    if RECIPES[name].long_share < 1:
        whole.append(dot_batch(1, windows=32, length=config.context + 1))
    for group in whole:
        group["reward"] = group["action"].sum(dim=-1)
        group["terminated"] = group["reward"] > 1.5
        group["goal"], group["ahead"] = group["pixels"][:, -1], 1 + group["reward"][:, -1].abs()
    groups = [{key: values[mine] for key, values in group.items()} for group in whole]
    objective = distributed.averaging(_Objective(model, loss, TRAIN))
    total, parts = objective(groups, torch.Generator().manual_seed(1))
    total.backward()
    values = distributed.mean({"total": float(total.detach()), **{k: float(v.detach()) for k, v in parts.items()}})
    return {
        **{f"loss.{key}": torch.tensor(value, dtype=torch.float64) for key, value in values.items()},
        **{f"grad.{key}": parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None},
        **dict(model.named_buffers()),
    }


if __name__ == "__main__":
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=size)
    for name in RECIPES:
        torch.save(step(name), folder / f"{name}-{rank}.pt")
