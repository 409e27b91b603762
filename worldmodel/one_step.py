"""The one-step predictor of LeWM (2603.19312): a causal transformer over the last few latents.

Shapes: M rows, L <= C tokens, D latent width, A = F * a action-block width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.attention import Attention
from worldmodel.blocks import ActionToken, AdaLNBlock, ProjectionHead, padded_plans, padded_rows
from worldmodel.config import OneStepConfig
from worldmodel.interfaces import Context, Prediction
from worldmodel.products import silu

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
        self.action = ActionToken(action_width, _SMOOTH, config.action_hidden, latent_dim)
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
        """Latents after every step of the plans: (B, N, H, A) -> (B, N, H, D).

        What depends on the past alone is computed once for all candidates. Until the window is full, a token's keys
        and values stay as they are; then it slides, and every token takes another place in it.
        """
        B, N, H, _ = plans.shape
        rows = padded_plans(plans).flatten(0, 1)
        seen, real = padded_rows(context.z)
        known = context.actions.shape[1]  # tokens whose actions are past
        past, future = self._modulations(padded_rows(context.actions)[0]), self._modulations(rows)
        latents = [context.z[:, -1].repeat_interleave(len(rows) // B, dim=0)]  # of tokens known, known + 1, ...
        told: list[Tensor] = []
        for stop in range(known + 1, known + 1 + H):
            start = max(0, stop - self.context)
            if start or not told:  # all tokens of the window are new, or in places where they have not been
                first, told = max(start, known), []
                if start < known:
                    x = seen[:, start:known] + self.position[:, : known - start]
                    _, told = self._extend(x, [part[:, start:known] for part in past], [])
                    told = [keys[:real] for keys in told]
            here = slice(first - known, stop - known)
            x = torch.stack(latents[here], dim=1) + self.position[:, first - start : stop - start]
            x, told = self._extend(x, [part[:, here] for part in future], told)
            latents.append(self.head(self.norm(x[:, 0])))
            first = stop
        return torch.stack(latents[1:], dim=1).unflatten(0, (B, -1))[:, :N]

    def _extend(self, x: Tensor, modulations: list[Tensor], past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The last of tokens (M, L, D) that follow others, (M, 1, D), and what all told each block."""
        told = []
        for i, (block, modulation) in enumerate(zip(self.blocks, modulations)):
            assert isinstance(block, AdaLNBlock)
            tokens = range(x.shape[1])
            wanted = tokens[-1:] if i == len(self.blocks) - 1 else tokens
            x, keys = block.extend(x, modulation, past[i] if past else None, wanted)
            told.append(keys)
        return x, told

    def _modulations(self, actions: Tensor) -> list[Tensor]:
        """Scales, shifts and gates of each block, which depend on the actions alone: (M, L, A) -> (M, L, 6D) each."""
        condition = silu(self.action(actions))
        return [block.modulation(condition) for block in self.blocks if isinstance(block, AdaLNBlock)]

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps, counted from 1: (B, N, H, A) -> (B, N, S, D)."""
        z = self.rollout(context, plans[:, :, : max(steps)])
        return torch.stack([z[:, :, step - 1] for step in steps], dim=2)
