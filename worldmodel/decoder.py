"""Latents to pictures, to look at what a model imagines. No loss of the model sees it: it is trained afterwards.

Shapes: M latents or frames, D latent width, S side of a picture, W channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.config import DecoderConfig
from worldmodel.model import WorldModel
from worldmodel.precision import native_bf16

PATCH = 4  # pixels, side of what the last convolution draws at once
COARSE = 8  # places, side of the first map at most


class Decoder(nn.Module):
    """Draws pictures from latents: the training's mean picture and what a network adds to it.

    Two hidden layers make a coarse map, convolutions double its side until patches of 4 x 4 pixels fill the picture.
    Ours; 2603.19312 has learned queries that attend to the latent, which learn slower on a processor (`DecoderConfig`).

    Args:
        config: sizes.
        latent_dim: D.
        image_size: S.
    """

    mean: Tensor

    def __init__(self, config: DecoderConfig, latent_dim: int, image_size: int) -> None:
        super().__init__()
        self.config, self.latent_dim, self.image_size = config, latent_dim, image_size
        self.about: dict[str, Any] = {}  # provenance, of a decoder from a file
        W, hidden = config.width, config.hidden
        doublings = max(0, math.ceil(math.log2(image_size / (PATCH * COARSE))))
        self.side = math.ceil(image_size / (PATCH * 2**doublings))
        self.places = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, W * self.side**2),
        )
        layers: list[nn.Module] = []
        for _ in range(doublings):
            layers += [nn.GELU(), nn.Conv2d(W, 4 * W, 3, 1, 1), nn.PixelShuffle(2)]
        layers += [nn.GELU(), nn.Conv2d(W, W, 3, 1, 1), nn.GELU()]
        layers += [last := nn.Conv2d(W, 3 * PATCH**2, 3, 1, 1), nn.PixelShuffle(PATCH)]
        nn.init.zeros_(last.weight)  # begin with the mean picture
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.paint = nn.Sequential(*layers)
        self.register_buffer("mean", torch.full((image_size, image_size, 3), 0.5))

    def forward(self, z: Tensor) -> Tensor:
        """Latents (M, D) to pictures (M, S, S, 3), 0 to 1 but for what overshoots."""
        coarse = self.places(z).view(-1, self.side, self.side, self.config.width).permute(0, 3, 1, 2)
        S, drawn = self.image_size, self.paint(coarse)
        out: Tensor = self.mean + drawn[:, :, :S, :S].permute(0, 2, 3, 1).float()
        return out

    @torch.no_grad()
    def pictures(self, z: Tensor) -> np.ndarray:
        """Latents (..., D) to pictures (..., S, S, 3) uint8."""
        parts = [self(part) for part in z.flatten(0, -2).split(256)]
        drawn = (255 * torch.cat(parts).clamp(0, 1)).round().to(torch.uint8)
        return drawn.unflatten(0, z.shape[:-1]).cpu().numpy()


def train_decoder(
    decoder: Decoder,
    model: WorldModel,
    sample: Callable[[int], Tensor],
    config: DecoderConfig,
    progress: Callable[[float], object] | None = None,
) -> int:
    """Train a decoder on the latents of a model, which stays as it is.

    ``mean |decoder(z) - x|^2`` over pixels, by Adam with a learning rate that falls to zero along a cosine.

    Args:
        decoder: trained in place.
        model: encodes the frames, in evaluation mode and without gradients.
        sample: frames (M, S, S, 3) uint8 of a step, on the model's device.
        config: when to stop and how fast to learn.
        progress: called after every step with the share of the training that is done.

    Returns:
        The steps that were made.
    """
    model.eval()
    with torch.no_grad():
        decoder.mean.copy_(torch.stack([sample(-step).float().mean(dim=0) for step in range(1, 9)]).mean(dim=0) / 255)
    decoder.train()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.lr)
    kind, bf16 = model.device.type, native_bf16("auto", model.device)
    begun, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        optimizer.param_groups[0]["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * done))
        frames = sample(step)
        with torch.no_grad():  # in float32, the precision of the encoder's batch statistics
            z = model.encode({"pixels": frames[:, None]})[:, 0]
        with torch.autocast(kind, torch.bfloat16, enabled=bf16):
            drawn = decoder(z)
        loss = (drawn - frames.float() / 255).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        done = step / config.steps if config.steps else (time.monotonic() - begun) / (60 * config.minutes)
        if progress:
            progress(min(done, 1.0))
    decoder.eval()
    return step


@torch.no_grad()
def reconstruction_error(decoder: Decoder, model: WorldModel, frames: Tensor) -> tuple[float, float]:
    """Mean squared error of decoded frames and of the mean picture in their place, of pixels from 0 to 1.

    Args:
        decoder: to judge.
        model: that encodes.
        frames: (M, S, S, 3) uint8.
    """
    errors = []
    for part in frames.split(256):
        shown = part.float() / 255
        drawn = decoder(model.encode({"pixels": part[:, None]})[:, 0]).clamp(0, 1)
        errors.append(torch.stack([(x - shown).square().mean(dim=(1, 2, 3)) for x in (drawn, decoder.mean)]))
    decoded, mean = torch.cat(errors, dim=1).mean(dim=1).tolist()
    return decoded, mean


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels from 0 to 1."""
    return -10 * math.log10(max(error, 1e-12))
