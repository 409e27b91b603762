"""Matrix products, faster where no gradient is wanted, as when planning.

Shapes: I inputs, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

# oneDNN uses AVX-512 on every make of processor; MKL, which F.linear takes for float32, on Intel's only. On AMD's Zen 5
# oneDNN was measured at 2.2 times the speed. From 2 rows on, neither lets a row's sums depend on how many there are.
ONEDNN = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # what torch.compile calls, and may be called otherwise one day
)


def watched() -> bool:
    """Whether somebody follows the arithmetic: to differentiate, either way, to transform, compile or trace it.

    Otherwise only its numbers matter. Where torch does not say, somebody does.
    """
    transform = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", object)
    return (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or getattr(forward_ad, "_current_level", 0) >= 0
        or transform() is not None
    )


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
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (x, weight, bias) if t is not None)
    if ONEDNN and plain and not watched() and not torch.is_autocast_enabled("cpu"):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
        return out
    x = F.linear(x, weight, bias)
    return F.gelu(x) if then == "gelu" else silu(x) if then == "swish" else x


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`."""

    def forward(self, x: Tensor, then: str = "none") -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias, then)
