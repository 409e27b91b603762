"""The one-step predictor of LeWM (2603.19312): a causal transformer over the last few latents.

Shapes: M rows, L <= C tokens, D latent width, A = F * a action-block width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.blocks import AdaLNBlock, Attention, ProjectionHead, padded_rows
from worldmodel.config import OneStepConfig
from worldmodel.interfaces import Context, Prediction

_SMOOTH = 10  # channels the action block is squeezed to first; a default of the released code that every task keeps


class OneStep(nn.Module):
    """z_{t+1} from the latents and actions up to t.

    Each token is a latent; the action of its time step conditions every block through AdaLN. The output is an absolute
    latent: projection head of the final norm.
    """

    max_prefix = 1

    def __init__(self, config: OneStepConfig, latent_dim: int, action_width: int, context: int) -> None:
        super().__init__()
        self.context = self.reach = context
        self.action = nn.Sequential(
            nn.Linear(action_width, _SMOOTH),
            nn.Linear(_SMOOTH, config.action_hidden),
            nn.SiLU(),
            nn.Linear(config.action_hidden, latent_dim),
        )
        self.position = nn.Parameter(torch.randn(1, context, latent_dim))
        self.blocks = nn.ModuleList(
            AdaLNBlock(
                latent_dim,
                Attention(
                    latent_dim,
                    config.heads,
                    config.head_dim,
                    causal=True,
                    bias=False,
                    norm=True,
                    dropout=config.dropout,
                ),
                config.mlp,
                config.dropout,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(latent_dim)
        self.head = ProjectionHead(latent_dim, config.head, latent_dim)

    def forward(self, z: Tensor, actions: Tensor) -> Tensor:
        """Predict the latent after each token: z (M, L, D), actions (M, L, A) -> (M, L, D)."""
        x, condition = z + self.position[:, : z.shape[1]], self.action(actions)
        for block in self.blocks:
            x = block(x, condition)
        out: Tensor = self.head(self.norm(x).flatten(0, 1))
        return out.view_as(z)

    def predict_windows(self, z: Tensor, actions: Tensor) -> Prediction:
        """Teacher-forced predictions in every stretch of C + 1 frames: z (B, T, D), actions (B, T-1, A)."""
        inputs = z[:, :-1].unfold(1, self.context, 1).transpose(2, 3).flatten(0, 1)  # (B * (T - C), C, D)
        blocks = actions.unfold(1, self.context, 1).transpose(2, 3).flatten(0, 1)
        targets = z[:, 1:].unfold(1, self.context, 1).transpose(2, 3).flatten(0, 1)
        return Prediction(self(inputs, blocks), targets)

    def rollout(self, context: Context, plans: Tensor) -> Tensor:
        """Latents after every step of the plans: (B, N, H, A) -> (B, N, H, D)."""
        b, n, horizon, _ = plans.shape
        z, real = padded_rows(context.z.repeat_interleave(n, dim=0))
        past, _ = padded_rows(context.actions.repeat_interleave(n, dim=0))
        future, _ = padded_rows(plans.flatten(0, 1))
        blocks = torch.cat([past, future], dim=1)
        latents = list(z.unbind(1))
        first = len(latents)
        for step in range(first, first + horizon):
            start = max(0, step - self.context)
            latents.append(self(torch.stack(latents[start:step], dim=1), blocks[:, start:step])[:, -1])
        return torch.stack(latents[first:], dim=1)[:real].unflatten(0, (b, n))

    def final(self, context: Context, plans: Tensor) -> Tensor:
        """Latent after the last step: (B, N, H, A) -> (B, N, D)."""
        return self.rollout(context, plans)[:, :, -1]

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps, counted from 1: (B, N, H, A) -> (B, N, S, D)."""
        return self.rollout(context, plans[:, :, : max(steps)])[:, :, [step - 1 for step in steps]]
