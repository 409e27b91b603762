"""The action-prefix predictor of Fast-LeWM (2606.26217): the latent after every prefix of a plan, in one pass.

Shapes: M rows, L <= max_prefix actions, D latent width, A = F * a action-block width, C context frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldmodel.blocks import (
    ActionToken,
    AdaLNBlock,
    ProjectionHead,
    TwiceNormedBlock,
    ValueOnly,
    padded_past,
    padded_plans,
    padded_rows,
    sinusoid,
)
from worldmodel.config import PrefixConfig
from worldmodel.interfaces import Context, Prediction
from worldmodel.products import Linear

_SMOOTH = 32  # first width of the action token in the released code


class Prefix(nn.Module):
    """z_{t+k} from z_t and a token that has seen actions 1..k only.

    A causal transformer over [state, a_1, .., a_L] gives prefix tokens p_1 .. p_L; each (z_t, p_k) passes on its own
    through pointwise AdaLN blocks, so that a prefix costs the same whatever its length. With C > 1 the state token also
    sees the latent differences z_t - z_{t-1}, ..., which make velocity visible; with C = 1 it is the published model.
    """

    position: Tensor

    def __init__(self, config: PrefixConfig, latent_dim: int, action_width: int, context: int) -> None:
        super().__init__()
        d = latent_dim
        self.max_prefix, self.context = config.max_prefix, context
        self.every_start, self.shapes_encoder = config.every_start, config.shapes_encoder
        self.reach = config.max_prefix if config.every_start else 1
        self.action = ActionToken(action_width, _SMOOTH, config.action_hidden, d)
        self.state = nn.Sequential(Linear(context * d, config.mlp), nn.GELU(), Linear(config.mlp, d))
        self.register_buffer("position", sinusoid(config.max_prefix + 1, d), persistent=False)
        self.layers = nn.ModuleList(TwiceNormedBlock(d, config.heads, config.mlp) for _ in range(config.depth))
        self.norm_layers, self.norm_prefix = nn.LayerNorm(d), nn.LayerNorm(d)
        self.fusion = nn.Sequential(nn.LayerNorm(3 * d), Linear(3 * d, config.mlp), nn.GELU(), Linear(config.mlp, d))
        for parameter in self.fusion[-1].parameters():  # the anchor alone, at first
            nn.init.zeros_(parameter)
        self.blocks = nn.ModuleList(
            AdaLNBlock(d, ValueOnly(d, config.block_inner, config.dropout), config.block_mlp, config.dropout)
            for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(d)
        self.head = ProjectionHead(d, config.head, d)

    def prefixes(self, anchor: Tensor, actions: Tensor) -> Tensor:
        """Prefix tokens: anchor (M, C, D), actions (M, L, A) -> (M, L, D); token k sees actions 1..k and the anchor."""
        tokens = torch.cat([self._state(anchor)[:, None], self.action(actions)], dim=1)
        tokens = tokens + self.position[: tokens.shape[1]]
        for layer in self.layers:
            tokens = layer(tokens)
        out: Tensor = self.norm_prefix(self.norm_layers(tokens[:, 1:]))
        return out

    def _state(self, anchor: Tensor) -> Tensor:
        now = anchor[:, -1:]
        motion = now - anchor[:, :-1].flip(1)
        return self.state(torch.cat([now, motion], dim=1).flatten(1))

    def forward(self, z: Tensor, prefix: Tensor) -> Tensor:
        """Predict one latent for each pair: z (M, D), prefix (M, D) -> (M, D)."""
        x = z + self.fusion(torch.cat([z, prefix, z * prefix], dim=-1))
        for block in self.blocks:
            x = block(x, prefix)
        out: Tensor = self.head(self.norm(x))
        return out

    def predict_windows(self, z: Tensor, actions: Tensor) -> Prediction:
        """Predictions from every start of the window to every later frame in reach: z (B, T, D), actions (B, T-1, A).

        The frames are encoded anyway, so T - 1 anchors cost little more than one. A window holds more short prefixes
        than long ones; weights make every length count the same, as in 2606.26217. There, and with ``every_start``
        False, the first frame is the only anchor.
        """
        z = z if self.shapes_encoder else z.detach()
        b, t, _ = z.shape
        starts = t - 1 if self.every_start else 1
        history = padded_past(z[:, :starts], self.context - 1)
        anchors = history.unfold(1, self.context, 1).transpose(2, 3).flatten(0, 1)  # (B * starts, C, D)
        padded = torch.cat([actions, actions.new_zeros(b, self.max_prefix - 1, actions.shape[-1])], dim=1)
        plans = padded.unfold(1, self.max_prefix, 1)[:, :starts].transpose(2, 3).flatten(0, 1)  # of every anchor
        tokens = self.prefixes(anchors, plans).view(b, starts * self.max_prefix, -1)
        pairs = [(s, k) for s in range(starts) for k in range(min(self.max_prefix, t - 1 - s))]
        start, length = torch.tensor(pairs, device=z.device).T

        def rows(x: Tensor, index: Tensor) -> Tensor:  # unlike x[:, index], its gradient is summed in a fixed order
            return x.index_select(1, index).flatten(0, 1)

        z_hat = self(rows(z, start), rows(tokens, start * self.max_prefix + length))
        weight = 1 / torch.bincount(length)[length]
        return Prediction(z_hat, rows(z, start + length + 1), weight.repeat(b))

    def read(self, anchor: Tensor, actions: Tensor, wanted: Sequence[int]) -> Tensor:
        """Some of the ``prefixes``, numbered from 0: anchors (G, C, D), actions (M, L, A) -> (M, len(wanted), D)."""
        padded, real = padded_rows(anchor)
        state = (self._state(padded) + self.position[0])[:, None]
        x = self.action(actions) + self.position[1 : actions.shape[1] + 1]
        for layer in self.layers:
            assert isinstance(layer, TwiceNormedBlock)
            state, told = layer.extend(state, None, (0,))
            x, _ = layer.extend(x, told[:real], wanted if layer is self.layers[-1] else range(x.shape[1]))
        out: Tensor = self.norm_prefix(self.norm_layers(x))
        return out

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps, counted from 1: (B, N, H, A) -> (B, N, S, D).

        Steps beyond max_prefix are composed: the longest trained jump, then a new anchor at the predicted latents.
        """
        B, N, _, _ = plans.shape
        history = context.z[:, -self.context :]
        anchor = padded_past(history, self.context - history.shape[1])  # (B, C, D), later (M, C, D)
        rows = padded_plans(plans).flatten(0, 1)
        found: dict[int, Tensor] = {}
        for start in range(0, max(steps), self.max_prefix):
            stop = min(start + self.max_prefix, max(steps))
            wanted = {step for step in steps if start < step <= stop}
            if stop < max(steps):  # the next anchor
                wanted |= set(range(max(start, stop - self.context) + 1, stop + 1))
            order = sorted(wanted)
            tokens = self.read(anchor, rows[:, start:stop], [step - start - 1 for step in order])
            anchor = anchor.repeat_interleave(len(rows) // len(anchor), dim=0)
            now = anchor[:, -1:].expand_as(tokens)
            z_hat = self(now.flatten(0, 1), tokens.flatten(0, 1)).view_as(tokens)
            found.update(zip(order, z_hat.unbind(1)))
            path = torch.cat([anchor, z_hat], dim=1)  # its last C are one step apart whenever another jump follows
            anchor = path[:, -self.context :]
        return torch.stack([found[step] for step in steps], dim=1).unflatten(0, (B, -1))[:, :N]

    def rollout(self, context: Context, plans: Tensor) -> Tensor:
        """Latents after every step of the plans: (B, N, H, A) -> (B, N, H, D)."""
        return self.arrivals(context, plans, tuple(range(1, plans.shape[2] + 1)))
