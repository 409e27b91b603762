"""Several processes that train one model, each on its share of every batch.

Whatever a batch decides together, its statistics and its loss, is decided by all processes, so that the result is the
one of a single process with the whole batch. DistributedDataParallel averages the gradients of the processes' losses;
a sum over processes inside a loss is therefore differentiated as what it is: each process's part of it is seen by the
losses of all.

Without ``torch.distributed`` initialised there is one process, and every function here returns what it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def total(x: Tensor) -> Tensor:
    """Sum of a real tensor over all processes, differentiable: the gradient is summed over them as well."""
    if size() == 1:
        return x
    out: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return out


def maximum(*values: float) -> tuple[float, ...]:
    """The largest of each number over all processes, so that they decide alike. Travels by the processors."""
    if size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return tuple(together.tolist())


def mean(values: dict[str, float]) -> dict[str, float]:
    """The mean of each number over all processes."""
    if size() == 1:
        return values
    together = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(together)
    return dict(zip(values, (together / size()).tolist()))


def barrier() -> None:
    """Wait until all processes are here."""
    maximum(0.0)


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the first process go through the block alone, then the others: what it writes, they read."""
    if rank() > 0:
        barrier()
    yield
    if rank() == 0:
        barrier()


def gathered(value: T) -> list[T]:
    """What every process has, in their order."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def averaging(module: nn.Module) -> nn.Module:
    """A module whose gradients are averaged over all processes; the parameters become those of the first one."""
    if size() == 1:
        return module
    return nn.parallel.DistributedDataParallel(module, gradient_as_bucket_view=True)
