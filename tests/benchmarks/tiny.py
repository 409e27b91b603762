"""A small world model that was never trained."""

from __future__ import annotations

import torch

from worldmodel.config import EncoderConfig, ModelConfig, OneStepConfig, PrefixConfig
from worldmodel.model import WorldModel


def tiny(env: str = "two-room", image_size: int = 16, prefix: bool = True, heads: int = 0) -> WorldModel:
    torch.manual_seed(0)
    narrow = dict(depth=1, heads=2, mlp=8, action_hidden=8, head=8)
    return WorldModel(
        ModelConfig(
            env=env,
            image_size=image_size,
            latent_dim=8,
            encoder=EncoderConfig(width=4, depth=2, projector=8),
            one_step=OneStepConfig(head_dim=4, **narrow),
            prefix=PrefixConfig(max_prefix=4, blocks=1, block_inner=8, block_mlp=8, **narrow) if prefix else None,
            reward=heads,
            value=heads,
            reflex=heads,
        )
    )
