"""Layers shared by the encoder and the predictors.

Shapes: M rows (any batch), L tokens, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel import distributed
from worldmodel.attention import Attention, pick
from worldmodel.products import ONEDNN, Linear, linear, silu, watched


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
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(var * count / (count - 1), share)
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
        super().__init__(Linear(d_in, hidden), BatchNorm1d(hidden), nn.GELU(), Linear(hidden, d_out))


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear with dropout after both, behind an optional affine LayerNorm: (..., W) -> (..., W)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0, norm: bool = False) -> None:
        first = [nn.LayerNorm(width)] if norm else []
        super().__init__(
            *first,
            Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.of_normed(self[0](x) if isinstance(self[0], nn.LayerNorm) else x)

    def of_normed(self, x: Tensor) -> Tensor:
        """As ``forward``, of what the norm has made already."""
        first, _, drop, last, drop_last = list(self)[-5:]
        out: Tensor = drop_last(last(drop(first(x, "gelu"))))
        return out


class ActionToken(nn.Sequential):
    """Linear, Linear, SiLU, Linear: action blocks (..., A) -> (..., W)."""

    def __init__(self, action_width: int, first: int, hidden: int, width: int) -> None:
        super().__init__(Linear(action_width, first), Linear(first, hidden), nn.SiLU(), Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor
        first, second, _, last = self
        assert isinstance(first, Linear) and isinstance(second, Linear)
        if self.training or torch.compiler.is_compiling():
            for layer in self:
                x = layer(x)
            return x
        # The first two as one; also, products as narrow as theirs round a row according to how many there are.
        bias = second.weight @ first.bias + second.bias
        out = last(linear(x, second.weight @ first.weight, bias, "swish"))
        return out


class ValueOnly(nn.Module):
    """What attention becomes for a sequence of one token: its value and output maps, (..., W) -> (..., W)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = Linear(width, inner, bias=False)
        self.out = Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> (..., W)."""
        x = self.norm(x)
        if self.training or watched():
            out: Tensor = self.dropout(self.out(self.value(x)))
            return out
        # Both maps as one (W, W), a tenth of the arithmetic per row in the published sizes. It is not kept: the weights
        # may change without a sign, and a recorded graph would not see it.
        return linear(x, linear(self.out.weight, self.value.weight.T), self.out.bias)


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


PLAIN_EPS = 1e-6


def plain_norm(x: Tensor) -> Tensor:
    """Layer norm without parameters."""
    return F.layer_norm(x, x.shape[-1:], eps=PLAIN_EPS)


def norm_twice(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """``norm(plain_norm(x))`` in one pass.

    With v the variance of x, the plain norm leaves v / (v + e) and so, with E the eps of the affine one, both divide by
    sqrt(v + E (v + e)) = sqrt(1 + E) sqrt(v + E e / (1 + E)).
    """
    shrink = (1 + norm.eps) ** -0.5
    return F.layer_norm(x, norm.normalized_shape, norm.weight * shrink, norm.bias, PLAIN_EPS * norm.eps * shrink**2)


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

    def extend(self, x: Tensor, past: Tensor | None, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The ``wanted`` ones of tokens (M, L, W) that follow others, and keys and values of all.

        ``past`` and what is returned are as in :meth:`Attention.tell`.
        """
        norm, norm_mlp = self.attention.norm, self.mlp[0]
        assert isinstance(norm, nn.LayerNorm) and isinstance(norm_mlp, nn.LayerNorm)
        y = norm_twice(x, norm)
        told = self.attention.tell(y, past)
        x = pick(x, wanted) + self.attention.ask(y, told, wanted)
        return x + self.mlp.of_normed(norm_twice(x, norm_mlp)), told


class AdaLNBlock(nn.Module):
    """A residual block conditioned by adaptive layer norm, starting as the identity (AdaLN-zero).

    Two branches, ``mixer`` then feed-forward, each ``x + gate * branch(norm(x) * (1 + scale) + shift)`` with gate,
    scale and shift linear in ``SiLU(condition)``. The branches hold a second, affine norm, as in the released LeWM.
    """

    def __init__(self, width: int, mixer: nn.Module, mlp: int, dropout: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.mlp = FeedForward(width, mlp, dropout, norm=True)
        self.modulation = Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        condition = F.silu(condition) if self.training else silu(condition)
        shift_a, scale_a, gate_a, shift_b, scale_b, gate_b = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate_a * self.mixer(plain_norm(x) * (1 + scale_a) + shift_a)
        return x + gate_b * self.mlp(plain_norm(x) * (1 + scale_b) + shift_b)

    def extend(
        self, x: Tensor, modulation: Tensor, past: Tensor | None, wanted: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The ``wanted`` ones of tokens (M, L, W) that follow others, and keys and values of all.

        ``modulation`` (M, L, 6W) is what the layer of that name made of their conditions; ``past`` and what is returned
        are as in :meth:`Attention.tell`.
        """
        attention = self.mixer
        assert isinstance(attention, Attention)
        shift, scale, *rest = modulation.chunk(6, dim=-1)
        y = attention.norm(plain_norm(x) * (1 + scale) + shift)
        told = attention.tell(y, past)
        gate, shift, scale, gate_mlp = (pick(part, wanted) for part in rest)
        x = pick(x, wanted) + gate * attention.ask(y, told, wanted)
        return x + gate_mlp * self.mlp(plain_norm(x) * (1 + scale) + shift), told


def sinusoid(length: int, width: int) -> Tensor:
    """Fixed sinusoidal positions (L, W), base 10000: sines in the even columns, cosines in the odd ones."""
    angle = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


FEW = 16  # rows below which a processor's matrix product takes other kernels, whose rounding differs
FEWEST = 2 if ONEDNN else FEW  # the same for oneDNN's products and convolutions


def padded_rows(x: Tensor, least: int = FEW) -> tuple[Tensor, int]:
    """Repeat all rows until there are at least so many, and say how many are real: (M, ...) -> (M', ...), M.

    Products of few rows take kernels that round differently; with 16 they are the same as with many, so that a plan
    does not depend on how many others are solved beside it (measured: 15 is the last number of rows that differs).
    """
    m = len(x)
    return (x.repeat(-(-least // m), *[1] * (x.ndim - 1)), m) if m < least else (x, m)


def padded_past(z: Tensor, missing: int) -> Tensor:
    """Repeat the oldest latent so often before it, as if nothing had moved until then: (..., c, D) -> (..., C, D)."""
    oldest = z[..., :1, :].expand(*[-1] * (z.ndim - 2), missing, -1)
    return torch.cat([oldest, z], dim=-2)


def padded_plans(plans: Tensor) -> Tensor:
    """Repeat candidates until there are at least 16 rows: (B, N, H, A) -> (B, N', H, A), the first N as they were."""
    few = -(-FEW // max(1, plans.shape[0] * plans.shape[1]))
    return plans.repeat(1, few, 1, 1) if few > 1 else plans
