"""Layers shared by the encoder and the predictors.

Shapes: M rows (any batch), L tokens, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel import distributed


def at_least_float32(x: Tensor) -> Tensor:
    """Numbers of half precision as float32, others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _SharedStatistics(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, on any device; PyTorch's own wants an accelerator."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or distributed.size() == 1:
            out: Tensor = super().forward(x)
            return out
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = x.numel() // x.shape[1] * distributed.size()
        full = at_least_float32(x)
        mean = distributed.total(full.sum(dims)) / count
        centred = full - mean.view(shape)
        var = distributed.total(centred.square().sum(dims)) / count
        with torch.no_grad():
            assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class BatchNorm1d(_SharedStatistics, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` whose statistics are those of all processes: (M, W) -> (M, W)."""


class BatchNorm2d(_SharedStatistics, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose statistics are those of all processes: (M, W, S, S) -> (M, W, S, S)."""


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, GELU, Linear: (M, d_in) -> (M, d_out).

    The batch norm sits on the hidden layer only, so that nothing after it binds the scale of the output: that is left
    to SIGReg (2603.19312).
    """

    def __init__(self, d_in: int, hidden: int, d_out: int) -> None:
        super().__init__(nn.Linear(d_in, hidden), BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, d_out))


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear with dropout after both, behind an optional affine LayerNorm: (..., W) -> (..., W)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0, norm: bool = False) -> None:
        first = [nn.LayerNorm(width)] if norm else []
        super().__init__(
            *first,
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention: queries (M, heads, L', d), keys and values (M, heads, L, d) -> (M, heads, L', d).

    In bfloat16 on a processor, torch's fused attention takes three to four times as long as plain products do, its
    gradient most of all.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
        if causal:
            scores = scores.masked_fill(scores.new_ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
        return F.dropout(scores.softmax(dim=-1), dropout) @ v
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)


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
        self.qkv = nn.Linear(width, 3 * inner, bias=bias)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._mix(q, k, v)

    def first(self, x: Tensor) -> Tensor:
        """The first token of what ``forward`` returns, without asking for the others: (M, L, W) -> (M, 1, W)."""
        x, inner = self.norm(x), self.out.in_features
        weights = self.qkv.weight.split([inner, 2 * inner])
        biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split([inner, 2 * inner])
        q = F.linear(x[:, :1], weights[0], biases[0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = F.linear(x, weights[1], biases[1]).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._mix(q, k, v)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y = attend(q, k, v, causal=self.causal, dropout=self.dropout if self.training else 0.0)
        return F.dropout(self.out(y.transpose(1, 2).flatten(2)), self.dropout, self.training)


class ValueOnly(nn.Module):
    """What attention becomes for a sequence of one token: its value and output maps, (..., W) -> (..., W)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.out(self.value(self.norm(x))))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward, both residual: (M, L, W) -> (M, L, W)."""

    def __init__(self, width: int, heads: int, mlp: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=eps)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, eps=eps)
        self.mlp = FeedForward(width, mlp)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))

    def first(self, x: Tensor) -> Tensor:
        """The first token of what ``forward`` returns: (M, L, W) -> (M, W)."""
        y = (x[:, :1] + self.attention.first(self.norm_attention(x)))[:, 0]
        return y + self.mlp(self.norm_mlp(y))


def plain_norm(x: Tensor) -> Tensor:
    """Layer norm without parameters."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class TwiceNormedBlock(nn.Module):
    """Causal attention and feed-forward, both residual, each behind two norms: (M, L, W) -> (M, L, W).

    A plain norm, then an affine one: the AdaLN block without its condition, as in the released Fast-LeWM.
    """

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, causal=True, bias=False, norm=True)
        self.mlp = FeedForward(width, mlp, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(plain_norm(x))
        return x + self.mlp(plain_norm(x))


class AdaLNBlock(nn.Module):
    """A residual block conditioned by adaptive layer norm, starting as the identity (AdaLN-zero).

    Two branches, ``mixer`` then feed-forward, each ``x + gate * branch(norm(x) * (1 + scale) + shift)`` with gate,
    scale and shift linear in ``SiLU(condition)``. The branches hold a second, affine norm, as in the released LeWM.
    """

    def __init__(self, width: int, mixer: nn.Module, mlp: int, dropout: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.mlp = FeedForward(width, mlp, dropout, norm=True)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_b, scale_b, gate_b = self.modulation(F.silu(condition)).chunk(6, dim=-1)
        x = x + gate_a * self.mixer(plain_norm(x) * (1 + scale_a) + shift_a)
        return x + gate_b * self.mlp(plain_norm(x) * (1 + scale_b) + shift_b)


def sinusoid(length: int, width: int) -> Tensor:
    """Fixed sinusoidal positions (L, W), base 10000: sines in the even columns, cosines in the odd ones."""
    angle = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


FEW = 16  # rows below which a processor's matrix product takes other kernels, whose rounding differs


def padded_rows(x: Tensor) -> tuple[Tensor, int]:
    """Repeat rows until there are at least 16, and say how many are real: (M, ...) -> (max(M, 16), ...), M.

    Products of few rows take kernels that round differently; with 16 they are the same as with many, so that a plan
    does not depend on how many others are solved beside it (measured: 15 is the last number of rows that differs).
    """
    m = len(x)
    return (x.repeat(-(-FEW // m), *[1] * (x.ndim - 1)), m) if m < FEW else (x, m)
