"""The ViT's shortcut through its last block."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import vit_slow
from worldmodel.config import EncoderConfig
from worldmodel.encoders import ViT


@pytest.mark.parametrize("depth", [1, 3])
def test_the_cls_token_alone_leaves_the_last_block(depth: int) -> None:
    torch.manual_seed(0)
    encoder = ViT(EncoderConfig(kind="vit", width=24, depth=depth, heads=3, patch=4), image_size=16).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    gradients = []
    for run in (encoder, lambda x: vit_slow(encoder, x)):
        y = run(x)
        encoder.zero_grad()
        (y * torch.arange(24)).square().mean().backward()
        gradients.append([y, *(parameter.grad for parameter in encoder.parameters())])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
