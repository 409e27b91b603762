"""Clocks and counters that both sides of a comparison use: this file alone goes along to the peer's interpreter."""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any


def clock(once: Callable[[], object], seconds: float, device: str, least: int = 2) -> dict[str, float]:
    """Median wall and CPU seconds of a call, over at least so many calls; and the wall seconds of all."""
    walls, cpus = zip(*times(once, seconds, device, least))
    return {"wall_s": median(walls), "cpu_s": median(cpus), "total_s": sum(walls)}


def times(once: Callable[[], object], seconds: float, device: str, least: int = 2) -> list[tuple[float, float]]:
    """Wall and CPU seconds of every call, at least so many and until so many seconds have passed."""
    found: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(found) < least or time.perf_counter() - begin < seconds:
        wall, cpu = time.perf_counter(), time.process_time()
        once()
        synchronize(device)
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return found


def synchronize(device: str) -> None:
    """Wait until an accelerator has done what it was told."""
    import torch

    if device != "cpu":
        torch.get_device_module(device).synchronize()


def peak(device: str) -> float | None:
    """Most MB held so far: of this process or, where one is used, on the accelerator; None where nobody says."""
    import torch

    if device != "cpu":
        return float(torch.get_device_module(device).max_memory_allocated()) / 1e6
    return _status("VmHWM")  # resource.getrusage would count what the parent held before the fork


def extra(once: Callable[[], object], device: str) -> float | None:
    """Most MB that a call holds beyond what was held before; None where nobody says."""
    import torch

    if device != "cpu":
        module = torch.get_device_module(device)
        module.reset_peak_memory_stats()
        before = float(module.memory_allocated()) / 1e6
    else:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # else it uses what was freed before, and nothing seems to be needed
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark
        except OSError:
            return None
        before = _status("VmRSS") or 0.0
    once()
    synchronize(device)
    most = peak(device)
    return None if most is None else most - before


def _status(name: str) -> float | None:
    """MB that Linux says of this process."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), None)


def count(once: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of a call."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    def linear(x: Sequence[int], weight: Sequence[int], *others: object, **more: object) -> int:
        return 2 * math.prod(x) * weight[0]

    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # which it does not know
    counter = FlopCounterMode(display=False, custom_mapping={onednn: linear} if onednn else {})
    with counter, sdpa_kernel(SDPBackend.MATH):  # whose products it sees
        once()
    return int(counter.get_total_flops())


def ceiling(given: dict[str, Any]) -> dict[str, float]:
    """Operations per wall and per CPU second of a large matrix product: the best of several, by the best library."""
    import torch

    n = 1024 if given["device"] == "cpu" else 8192
    dtype = torch.bfloat16 if given["bf16"] else torch.float32
    a = torch.randn(n, n, device=given["device"], dtype=dtype)
    products: list[Callable[[], object]] = [lambda: a @ a]
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # on some processors twice as fast as MKL
    if onednn and given["device"] == "cpu" and torch.backends.mkldnn.is_available():
        products.append(lambda: onednn(a, a, None, "none", [], "none"))
    found = [clock(product, 0, given["device"]) for product in products for _ in range(10)]
    return {per: 2 * n**3 / min(one[f"{per}_s"] for one in found) for per in ("wall", "cpu")}
