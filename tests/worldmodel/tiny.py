"""A model small enough to train in a test, and data it can learn."""

from __future__ import annotations

from dataclasses import replace

import torch

from worldmodel.config import EncoderConfig, LossConfig, ModelConfig, OneStepConfig, PrefixConfig, TrainConfig
from worldmodel.model import WorldModel

LOSS = LossConfig(imagined=1.0, projections=32)
TRAIN = TrainConfig(steps=12, batch=8, window=5, lr=1e-3, log_every=1, save_every=4, validate_every=6, precision="fp32")


def tiny_config(context: int = 2, **changes: object) -> ModelConfig:
    config = ModelConfig(
        env="two-room",
        image_size=16,
        latent_dim=16,
        context=context,
        action_block=3,
        encoder=EncoderConfig(kind="cnn", width=8, depth=2, projector=32),
        one_step=OneStepConfig(depth=1, heads=2, head_dim=8, mlp=32, dropout=0.1, action_hidden=16, head=32),
        prefix=PrefixConfig(
            depth=2,
            heads=2,
            mlp=32,
            action_hidden=16,
            blocks=2,
            block_inner=16,
            block_mlp=32,
            dropout=0.1,
            head=32,
            max_prefix=4,
        ),
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def tiny_model(context: int = 2, seed: int = 0, **changes: object) -> WorldModel:
    """A model whose parts all matter: nothing is left at its zero start."""
    torch.manual_seed(seed)
    model = WorldModel(tiny_config(context, **changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def dot_batch(step: int, windows: int = 8, length: int = 5) -> dict[str, torch.Tensor]:
    """A bright square that actions move over a dark picture; the batch depends on the step only."""
    generator = torch.Generator().manual_seed(step)
    action = torch.rand(windows, length - 1, 6, generator=generator) * 2 - 1
    start = torch.rand(windows, 1, 2, generator=generator) * 8 + 4
    moves = action.unflatten(2, (3, 2)).sum(dim=2)
    place = torch.cat([start, start + moves.cumsum(dim=1)], dim=1).clamp(1, 14)  # (B, T, 2)
    grid = torch.arange(16.0)
    near = (grid - place[..., None]).abs() < 1.5  # (B, T, 2, 16)
    square = near[:, :, 0, :, None] & near[:, :, 1, None, :]
    pixels = (square[..., None] * 255).to(torch.uint8).expand(-1, -1, -1, -1, 3).contiguous()
    return {"pixels": pixels, "action": action}


def dot_groups(step: int) -> list[dict[str, torch.Tensor]]:
    """Long windows and short ones, as a training step sees them."""
    return [dot_batch(2 * step, windows=4), dot_batch(2 * step + 1, windows=4, length=3)]
