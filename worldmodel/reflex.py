"""The goal-action head: what to do now in order to be somewhere later, in one forward pass instead of a search.

Shapes: B windows, T frames, M rows, C context frames, D latent width, A = F * a action-block width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.blocks import FeedForward, at_least_float32, padded_past, padded_rows
from worldmodel.interfaces import Prediction
from worldmodel.products import Linear


class ReflexHead(nn.Module):
    """The action block that a demonstrator took who was at the goal so many steps later.

    Goal-conditioned imitation by hindsight (1906.05838): any later frame of an episode was its goal. The head reads the
    last latent, how it differs from those before (which shows velocities), the goal, the way there, and the logarithm
    and the inverse of the model steps left; two residual MLP blocks follow.

    Args:
        hidden: width of the blocks.
        latent_dim: D.
        action_width: A.
        context: C.
    """

    blocks: int = 2

    def __init__(self, hidden: int, latent_dim: int, action_width: int, context: int) -> None:
        super().__init__()
        self.context = self.reach = context
        self.first = Linear((context + 2) * latent_dim + 2, hidden)
        self.mlps = nn.ModuleList(FeedForward(hidden, hidden, norm=True) for _ in range(self.blocks))
        self.last = Linear(hidden, action_width)

    def forward(self, anchor: Tensor, goal: Tensor, ahead: Tensor) -> Tensor:
        """Read the block to execute now.

        Args:
            anchor: the last C latents, one model step apart, the first one repeated where there were fewer (M, C, D).
            goal: (M, D).
            ahead: model steps until it is to be reached, at least 1, (M,).

        Returns:
            Normalised action blocks (M, A), not yet within the bounds.
        """
        anchor, goal, ahead = at_least_float32(anchor), at_least_float32(goal), at_least_float32(ahead)[:, None]
        now = anchor[:, -1]
        motion = (now[:, None] - anchor[:, :-1]).flatten(1)
        x, real = padded_rows(torch.cat([now, motion, goal, goal - now, ahead.log(), 1 / ahead], dim=1))
        with torch.autocast(x.device.type, enabled=False):  # as the other heads
            x = self.first(x)
            for mlp in self.mlps:
                x = x + mlp(x)
            out: Tensor = self.last(x)
        return out[:real]

    def predict_windows(self, z: Tensor, actions: Tensor, goal: Tensor, ahead: Tensor) -> Prediction:
        """Blocks from frame C of every window and from those before it, whose past is cut as at an episode's start.

        Args:
            z: latents (B, T, D), T > C.
            actions: normalised blocks between them (B, T-1, A).
            goal: (B, D), ``ahead`` (B,) model steps after frame C.
            ahead: at least 1.
        """
        C = self.context
        history = padded_past(z[:, :C], C - 1)
        anchors = history.unfold(1, C, 1).transpose(2, 3).flatten(0, 1)  # (B * C, C, D)
        left = ahead[:, None] + torch.arange(C - 1, -1, -1, device=ahead.device)
        hat = self(anchors, goal.repeat_interleave(C, dim=0), left.flatten())
        return Prediction(hat, actions[:, :C].flatten(0, 1))
