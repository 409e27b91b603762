"""From pixels to one feature vector a frame.

Shapes: M frames, S pixels (square), W feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.blocks import BatchNorm2d, TransformerBlock
from worldmodel.config import EncoderConfig
from worldmodel.errors import BadValue

_PIXEL_MEAN = (0.485, 0.456, 0.406)  # ImageNet statistics, as in the published recipe
_PIXEL_STD = (0.229, 0.224, 0.225)


class ViT(nn.Module):
    """A vision transformer that returns its CLS token: (M, 3, S, S) -> (M, W). Structure of 2603.19312."""

    def __init__(self, config: EncoderConfig, image_size: int) -> None:
        super().__init__()
        if image_size % config.patch:
            raise BadValue(f"encoder.patch {config.patch} does not divide the image size {image_size}")
        self.width = config.width
        self.patches = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, config.width))
        self.position = nn.Parameter(torch.zeros(1, (image_size // config.patch) ** 2 + 1, config.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.heads, 4 * config.width, eps=1e-12) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-12)
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(x.shape[0], -1, -1), tokens], dim=1) + self.position
        *blocks, last = self.blocks
        assert isinstance(last, TransformerBlock)
        for block in blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(last.first(tokens))  # only the CLS token leaves the last block
        return out


class CNN(nn.Module):
    """Strided convolutions, flattened so that places stay apart: (M, 3, S, S) -> (M, W).

    Ours, for processors without an accelerator, where a layer costs the memory it writes: an 8 x 8 stem of stride 4,
    then 3 x 3 convolutions of stride 2 with BatchNorm, channels doubled each time.
    """

    def __init__(self, config: EncoderConfig, image_size: int) -> None:
        super().__init__()
        stride = 2 ** (config.depth + 1)
        if image_size % stride:
            raise BadValue(f"encoder.depth {config.depth}: {image_size} pixels cannot be shrunk {stride}-fold")
        channels = [config.width * 2**i for i in range(config.depth)]
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 8, 4, 2), nn.ReLU(inplace=True)]
        for c, d in zip(channels, channels[1:]):
            layers += [nn.Conv2d(c, d, 3, 2, 1, bias=False), BatchNorm2d(d), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.width = channels[-1] * (image_size // stride) ** 2

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x).permute(0, 2, 3, 1).flatten(1)  # as it lies in memory
        return out


def make_encoder(config: EncoderConfig, image_size: int) -> ViT | CNN:
    """Build the encoder a config names."""
    return ViT(config, image_size) if config.kind == "vit" else CNN(config, image_size)


class Pixels(nn.Module):
    """Frames as the world gives them, uint8 (M, S, S, 3), to normalised floats (M, 3, S, S), channels last in memory.

    Args:
        image_size: S.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image_size: int) -> None:
        super().__init__()
        # A whole row of pixels long, because three numbers are too few for vector instructions.
        self.register_buffer("mean", 255 * torch.tensor(_PIXEL_MEAN).repeat(image_size), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(_PIXEL_STD).repeat(image_size), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        kind = frames.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.mean.dtype
        rows = frames.flatten(2).to(dtype).sub_(self.mean.to(dtype)).div_(self.std.to(dtype))
        return rows.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)
