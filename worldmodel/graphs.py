"""The parts of a model as other programs call them: named inputs, actions in the environment's units, free lengths.

Shapes: M rows, T frames given, C context frames, L actions given, S pixels,
D latent width, a action size, F action block, A = F * a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from worldmodel.model import WorldModel
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix


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
    """``z`` (M, T, D), oldest first, next ``actions`` (M, L, A), ``steps`` int64 (chosen,) -> (M, chosen, D).

    Steps count from 1; L <= max_prefix. The last C of z are read; where there are fewer, the oldest stands in for what
    is missing.
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
class Graph:
    """A graph to be.

    Attributes:
        module: computes it.
        output: name of what it returns.
        dynamic: for each input the axes that may have any length, and their names.
        longest: the largest L.
        example: makes inputs of (M, L).
    """

    module: nn.Module
    output: str
    dynamic: Mapping[str, dict[int, Any]]
    longest: int
    example: Callable[[int, int], dict[str, Tensor]]

    @property
    def inputs(self) -> dict[str, list[str | int]]:
        """Shape of every input, names standing for what is free."""
        example = self.example(2, self.longest)
        return {
            name: [getattr(axes.get(i), "__name__", size) for i, size in enumerate(example[name].shape)]
            for name, axes in self.dynamic.items()
        }


def graphs(model: WorldModel) -> dict[str, Graph]:
    """Return the ``encoder`` and the predictors of a model, by name."""
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

    found = {"encoder": Graph(_Encode(model), "z", {"pixels": {0: batch}}, 1, pixels)}
    for name in model.predictors:
        part = model.predictor(name)
        if isinstance(part, OneStep):
            free = upto("length", C)
            found[name] = Graph(_OneStep(model, part), "z_next", {"z": free, "actions": free}, C, context)
        else:
            longest = part.max_prefix
            steps = {0: Dim("chosen")} if longest > 1 else {}
            axes = {"z": {0: batch, 1: Dim("frames")}, "actions": upto("horizon", longest), "steps": steps}
            found[name] = Graph(_Prefix(model, part), "z_after", axes, longest, plans)
    return found
