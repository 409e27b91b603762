"""In what numbers to compute."""

from __future__ import annotations

import torch

from worldmodel.config import PRECISIONS
from worldmodel.errors import UnknownName


def native_bf16(precision: str, device: torch.device) -> bool:
    """Decide whether to compute in bfloat16: ``auto`` does where the hardware multiplies it natively.

    Raises:
        UnknownName: the precision is none of fp32, bf16, auto.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)  # a check this torch lacks says False
    supported = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    return supported is not None and bool(supported(including_emulation=False))
