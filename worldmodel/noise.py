"""Noise for action sequences that walk somewhere instead of trembling.

Shapes: H model steps, F action block, a action size, A = F * a.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def correlate(noise: Tensor, correlation: float | Tensor, action_block: int) -> Tensor:
    """Turn white noise into AR(1) noise over primitive steps, inside model steps and across them.

    ``e_t = rho e_(t-1) + sqrt(1 - rho^2) w_t`` with ``e_0 = w_0``, so every e_t has unit standard deviation and
    ``corr(e_t, e_(t+k)) = rho^k``. Computed by doubling, in log2(H F) elementwise passes instead of H F steps.

    Args:
        noise: w, (..., H, A).
        correlation: rho in [0, 1), between consecutive primitive actions; a tensor gives each sequence its own, and
            broadcasts against (..., H * F, a).
        action_block: F, so that A = F * a.

    Returns:
        e, (..., H, A).
    """
    if not isinstance(correlation, Tensor) and correlation == 0:
        return noise
    *lead, H, A = noise.shape
    e = noise.reshape(*lead, H * action_block, A // action_block).clone()  # (..., H * F, a)
    e[..., 1:, :] *= (1 - correlation**2) ** 0.5
    shift = 1
    while shift < e.shape[-2]:  # e_t now sums rho^j u_(t-j) over j < shift
        e = torch.cat([e[..., :shift, :], e[..., shift:, :] + correlation**shift * e[..., :-shift, :]], dim=-2)
        shift *= 2
    return e.reshape(noise.shape)


def coloured(noise: Tensor, exponent: float, action_block: int) -> Tensor:
    """Turn white noise into noise whose power at frequency f is proportional to ``f^-exponent``, over primitive steps.

    The spectrum of the T = H F white numbers is scaled and transformed back, which makes the noise periodic in T; the
    constant part is scaled as the lowest frequency, ``f = 1 / T`` (Timmer and Koenig 1995, as in 2008.06389). Every
    number has unit standard deviation.

    Args:
        noise: w, (..., H, A).
        exponent: 0 leaves white noise, 1 makes it pink, 2 red.
        action_block: F, so that A = F * a.

    Returns:
        Coloured noise, (..., H, A).
    """
    if exponent == 0:
        return noise
    *lead, H, A = noise.shape
    T = H * action_block
    white = noise.reshape(*lead, T, A // action_block)
    gain = torch.arange(T // 2 + 1, device=noise.device, dtype=noise.dtype).clamp(min=1) ** (-exponent / 2)
    power = sum(max(1, min(k, T - k)) ** -exponent for k in range(T)) / T
    spectrum = torch.fft.rfft(white, dim=-2) * (gain / math.sqrt(power))[:, None]
    return torch.fft.irfft(spectrum, n=T, dim=-2).reshape(noise.shape)
