"""Matrix products where no gradient is wanted of the weights, as when planning.

Shapes: I inputs, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN uses AVX-512 on every make of processor; MKL, which F.linear takes for float32, on Intel's only. On AMD's Zen 5
# oneDNN was measured at 2.2 times the speed. From 2 rows on, neither lets a row's sums depend on how many there are.
ONEDNN = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # what torch.compile calls, and may be called otherwise one day
)


def frozen(weight: Tensor) -> bool:
    """Whether what follows from a weight may be computed in other ways: nobody differentiates by it or exports it."""
    return not (torch.is_grad_enabled() and weight.requires_grad) and not torch.compiler.is_compiling()


def silu(x: Tensor) -> Tensor:
    """``F.silu``, every number by the same code.

    On a processor that one rounds the last few numbers of an array, or of a thread's part of it, in another way than
    the rest, and so a row according to its place.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.silu(x)
    return x / (1 + (-x).clamp(max=80).exp())  # the exponential stays finite, for the gradient's sake


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    """``F.linear`` by the fastest kernel, then ``gelu``, ``swish`` or nothing: (..., I), weight (O, I) -> (..., O)."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if ONEDNN and plain and frozen(x) and frozen(weight) and not torch.is_autocast_enabled("cpu"):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
        return out
    x = F.linear(x, weight, bias)
    return F.gelu(x) if then == "gelu" else silu(x) if then == "swish" else x


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`."""

    def forward(self, x: Tensor, then: str = "none") -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias, then)
