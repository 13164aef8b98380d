"""Tileable noise, made once: an atlas that materials, clouds and lenses look up bilinearly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_SIZE = 512
CLOUD, FINE, RIDGE, SMOOTH = 0, 1, 2, 3  # channels of the atlas
_CHANNELS = 8  # 4..7: further independent clouds


@lru_cache(maxsize=4)
def _atlas(device: str) -> Tensor:
    rng = np.random.default_rng(20240229)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_SIZE) * _SIZE, np.fft.rfftfreq(_SIZE) * _SIZE, indexing="ij"))
    frequency[0, 0] = 1

    def spectrum(power: float, low: float, high: float) -> np.ndarray:
        shape = frequency**-power * (frequency >= low) * (frequency <= high)
        field = np.fft.irfft2(shape * np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE))), s=(_SIZE, _SIZE))
        return np.asarray(field / field.std())

    planes = [
        spectrum(1.5, 3, 200),
        spectrum(0.4, 24, 240),
        -np.abs(spectrum(1.6, 3, 120)) * 1.6 + 1.3,
        spectrum(2.2, 2, 16),
        *(spectrum(1.3, 3, 200) for _ in range(_CHANNELS - 4)),
    ]
    texture = torch.from_numpy(np.stack(planes).clip(-2.5, 2.5).astype(np.float32)) / 2.5
    padded = F.pad(texture[None], (0, 1, 0, 1), mode="circular")
    return padded.to(device).contiguous()


def noise(u: Tensor, v: Tensor, channels: slice | None = None) -> Tensor:
    """Noise in [-1, 1], (C, N), at points (u, v) given in atlas periods."""
    atlas = _atlas(str(u.device))
    chosen = atlas if channels is None else atlas[:, channels]
    grid = torch.stack([u - u.floor(), v - v.floor()], dim=-1) * 2 - 1
    found = F.grid_sample(chosen, grid[None, None], mode="bilinear", align_corners=True)
    return found[0, :, 0]


def hashed(i: Tensor, j: Tensor, salt: Tensor | float = 0.0) -> Tensor:
    """A pseudo-random number in [0, 1) for every cell (i, j) (whole numbers as floats)."""
    k = (i * 73856093.0).to(torch.int64) ^ (j.to(torch.int64) * 19349663)
    k = k ^ (torch.as_tensor(salt, device=i.device).to(torch.int64) * 83492791)
    k = (k ^ (k >> 13)) * 1274126177
    k = (k ^ (k >> 16)) & 0xFFFFFF
    return k.to(torch.float32) / 16777216.0
