"""Attention, of whole sequences and of tokens that follow others which have told their keys and values already.

Shapes: M rows (any batch), L tokens, P tokens before them, W width, I = heads * d.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.products import Linear, linear


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention: queries (M, heads, L', d), keys and values (M, heads, L, d) -> (M, heads, L', d).

    Queries see no later key if ``causal``, or those where ``mask`` (L', L) is True. In bfloat16 on a processor, torch's
    fused attention takes three to four times as long as plain products do, its gradient most of all.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
        if causal:
            mask = scores.new_ones(scores.shape[-2:]).tril().bool()
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return F.dropout(scores.softmax(dim=-1), dropout) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)


def attend_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """:func:`attend` for one query: (M, heads, 1, d), keys and values (M, heads, L, d) -> (M, heads, 1, d).

    Threads of a processor would share the keys of a single query among them, and round a row according to its place.
    """
    weights = (q * k).sum(dim=-1, keepdim=True).mul(q.shape[-1] ** -0.5).softmax(dim=2)
    return (weights * v).sum(dim=2, keepdim=True)


class Attention(nn.Module):
    """Multi-head self-attention: (M, L, W) -> (M, L, W)."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int | None = None,
        *,
        causal: bool = False,
        bias: bool = True,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner = heads * (head_dim or width // heads)
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.qkv = Linear(width, 3 * inner, bias=bias)
        self.out = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(M, L, W) -> (M, L, W)."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._out(self._attend(q, k, v, causal=self.causal))

    def first(self, x: Tensor) -> Tensor:
        """The first token of what ``forward`` returns, without asking for the others: (M, L, W) -> (M, 1, W)."""
        x = self.norm(x)
        (q,), (k, v) = self._split(self._part(x[:, :1], 0, 1)), self._split(self._part(x, 1, 3))
        return self._out(self._attend(q, k, v))

    def tell(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        """Keys and values of tokens (M, L, W) behind those of the tokens before them: (G, P, 2I) -> (M, P + L, 2I).

        G divides M: each of the G pasts has M / G continuations, one after another. The tokens are normed already.
        """
        new = self._part(x, 1, 3)
        if past is None:
            return new
        new = new.unflatten(0, (len(past), -1))
        return torch.cat([past[:, None].expand(-1, new.shape[1], -1, -1), new], dim=2).flatten(0, 1)

    def ask(self, x: Tensor, told: Tensor, wanted: Sequence[int]) -> Tensor:
        """What the ``wanted`` ones of the last tokens read in keys and values, up to their own.

        Tokens (M, L, W), normed already, and what was told of all (M, P + L, 2I) -> (M, len(wanted), W).
        """
        past = told.shape[1] - x.shape[1]
        one = len(wanted) == 1
        if one:
            x, told = pick(x, wanted), told[:, : past + wanted[0] + 1]
        (q,), (k, v) = self._split(self._part(x, 0, 1)), self._split(told)
        if one:
            return self._out(self._attend(q, k, v))
        mask = torch.ones(x.shape[1], told.shape[1], dtype=torch.bool, device=x.device).tril(past) if past else None
        return self._out(pick(self._attend(q, k, v, causal=not past, mask=mask), wanted))

    def _part(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Of queries, keys and values (0, 1, 2) some, ``start`` to before ``stop``: (M, L, W) -> (M, L, I each)."""
        inner = self.out.in_features
        some = slice(start * inner, stop * inner)
        return linear(x, self.qkv.weight[some], None if self.qkv.bias is None else self.qkv.bias[some])

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """(M, L, I each) -> (M, heads, L, d) each."""
        d = self.out.in_features // self.heads
        return x.unflatten(-1, (-1, self.heads, d)).permute(2, 0, 3, 1, 4).unbind()

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        if q.shape[2] == 1 and q.device.type == "cpu" and not (self.training or torch.compiler.is_compiling()):
            return attend_once(q, k, v).transpose(1, 2)
        y = attend(q, k, v, causal=causal, mask=mask, dropout=self.dropout if self.training else 0.0)
        return y.transpose(1, 2)  # (M, L', heads, d)

    def _out(self, y: Tensor) -> Tensor:
        return F.dropout(self.out(y.flatten(2)), self.dropout, self.training)


def pick(x: Tensor, wanted: Sequence[int]) -> Tensor:
    """Some of the tokens, by numbers that the host knows, in ascending order: (M, L, ...) -> (M, L', ...)."""
    first, last = wanted[0], wanted[-1]
    if last - first + 1 == len(wanted):
        return x[:, first : last + 1]
    return torch.stack([x[:, i] for i in wanted], dim=1)
