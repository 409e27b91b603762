"""Seconds of a LeWM training step, ours or stable-worldmodel's, in a process of its own.

Its source is fed to the interpreter of an environment which has stable-worldmodel, so of this package it needs for
that side what goes along, ``clocks.py`` alone. It reads settings as one line of JSON from its first argument, and
prints the results as one line of JSON. Both sides are timed by the same functions.

Their step is put together from their modules (encoder of transformers, ``wm.lewm``, ``wm.loss``) as their training does
it: encode all frames, predict with the context, squared error and 0.09 SIGReg, AdamW, gradients clipped to 1.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from worldmodel.benchmarks.clocks import ceiling, clock, count, peak, synchronize

Batch = Any
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def measure(load: Callable[[], Batch], step: Callable[[Batch], object], given: dict[str, Any]) -> dict[str, Any]:
    """Time the step on one batch kept in memory, then with a fresh batch each time."""
    device, waited = given["device"], []

    def both() -> None:
        start = time.perf_counter()
        batch = load()
        synchronize(device)
        waited.append(time.perf_counter() - start)
        step(batch)

    batch = load()
    step(batch)  # the first one allocates and chooses kernels
    pure = clock(lambda: step(batch), given["seconds"], device, given["least"])
    found: dict[str, Any] = {"step": pure, "peak_mb": peak(device)}
    both()
    waited.clear()
    found["end_to_end"] = clock(both, given["seconds"], device, given["least"])
    found["loading_share"] = sum(waited) / found["end_to_end"]["total_s"]
    if given["count"]:
        found["flops"] = count(lambda: step(batch))
    return found


def optimised(model: Any, fused: bool | None) -> Callable[[Callable[[], Any]], None]:
    """Return the rest of a training step: the loss under autocast, then its gradient, clipped, and AdamW."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=1e-3, fused=fused)

    def update(loss: Callable[[], Any]) -> None:
        total = loss()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return update


def autocast(given: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """Bfloat16, where it is used."""
    import torch

    return torch.autocast(given["device"], torch.bfloat16, enabled=given["bf16"])


def ours(given: dict[str, Any]) -> dict[str, Any]:
    """Time our step and batches as ``wm-train`` makes them."""
    from itertools import count as steps

    import torch

    from worldmodel.cli import common
    from worldmodel.cli.batches import Batches, prefetched
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.model import WorldModel
    from worldmodel.plain import from_dict
    from worldmodel.run import RunConfig
    from worldmodel.terms import Loss

    common.keep_memory()
    torch.set_num_threads(given["threads"])
    config, device = from_dict(RunConfig, given["run"]), torch.device(given["device"])
    model = WorldModel(config.model).to(device).train()
    loss = Loss(config.loss, config.model.predictions).to(device)
    update, number = optimised(model, True), steps()
    with EpisodeStore(config.dataset) as store:
        batches = Batches(store, config, device)

    def total(batch: Batch) -> Any:
        with autocast(given):
            record = model.step(batch)
        return loss(record)[0]

    with prefetched(batches, device) as sample:
        found = measure(lambda: sample(next(number)), lambda batch: update(lambda: total(batch)), given)
    found["parameters"] = sum(p.numel() for p in model.parameters())
    return found | ({"ceiling": ceiling(given)} if given["count"] else {})


def theirs(given: dict[str, Any]) -> dict[str, Any]:
    """Time stable-worldmodel's step and its loader, whose work normalising is: the batch in memory is already."""
    import torch
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset
    from stable_worldmodel.wm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
    from stable_worldmodel.wm.loss import SIGReg
    from torch.utils.data import DataLoader
    from transformers import ViTConfig, ViTModel

    torch.set_num_threads(given["threads"])
    config, device = given["run"]["model"], given["device"]
    loss, train = given["run"]["loss"], given["run"]["train"]
    vit, step, width, context = config["encoder"], config["one_step"], config["latent_dim"], config["context"]
    sizes = ViTConfig(
        hidden_size=vit["width"],
        num_hidden_layers=vit["depth"],
        num_attention_heads=vit["heads"],
        intermediate_size=4 * vit["width"],
        image_size=config["image_size"],
        patch_size=vit["patch"],
    )
    predictor: Any = Predictor(
        num_frames=context,
        depth=step["depth"],
        heads=step["heads"],
        dim_head=step["head_dim"],
        mlp_dim=step["mlp"],
        input_dim=width,
        hidden_dim=width,
        output_dim=width,
        dropout=step["dropout"],
    )
    norm: Any = torch.nn.BatchNorm1d
    model: Any = LeWM(
        ViTModel(sizes, add_pooling_layer=False),
        predictor,
        Embedder(input_dim=config["action_block"] * config["action_dim"], emb_dim=width),
        MLP(vit["width"], vit["projector"], width, norm_fn=norm),
        MLP(width, step["head"], width, norm_fn=norm),
    )
    model.to(device).train()
    sigreg, update = SIGReg(num_proj=loss["projections"]).to(device), optimised(model, None)
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))

    def transform(item: Batch) -> Batch:
        item["pixels"] = item["pixels"].float().div_(255).sub_(mean).div_(std)
        item["action"] = item["action"].nan_to_num()
        return item

    data: Any = HDF5Dataset(
        path=given["own"],
        num_steps=train["window"],
        frameskip=config["action_block"],
        keys_to_load=["pixels", "action"],
        transform=transform,
    )
    workers = given["workers"]
    loader: Any = DataLoader(
        data, train["batch"], shuffle=True, drop_last=True, num_workers=workers, pin_memory=device != "cpu"
    )
    batches = iter(loader)

    def load() -> Batch:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        return {name: value.to(device, non_blocking=True) for name, value in batch.items()}

    def total(batch: Batch) -> Any:
        with autocast(given):
            info = model.encode(dict(batch))
            z = info["emb"]
            error = (model.predict(z[:, :context], info["act_emb"][:, :context]) - z[:, 1:]).pow(2).mean()
            return error + loss["sigreg"] * sigreg(z.transpose(0, 1))

    found = measure(load, lambda batch: update(lambda: total(batch)), given)
    found["versions"] = {name: version(name) for name in ("stable-worldmodel", "torch", "transformers", "h5py")}
    return {**found, "parameters": sum(p.numel() for p in model.parameters())}


if __name__ == "__main__":
    print(json.dumps(theirs(json.loads(sys.argv[1]))))
