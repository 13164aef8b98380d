"""From decoded channels to a model's published numbers, elementwise in space."""

from __future__ import annotations

from torch import Tensor

from leadline.models.families import DepthRange, NormalRange


def depth_values(decoded: Tensor, kind: DepthRange) -> Tensor:
    """(N, 3 or 1, h, w) decoded channels, or their mean, to a depth map (N, 1, h, w).

    Stretching to [0, 1], where a family does it, is left to :func:`stretched`, once padding is cut off.
    """
    if kind is DepthRange.CHANNELS_CLIPPED:
        return (decoded / 2.0 + 0.5).clamp(0.0, 1.0).mean(1, keepdim=True)
    mean = decoded if decoded.shape[1] == 1 else decoded.mean(1, keepdim=True)
    return mean if kind is DepthRange.RAW else (mean.clamp(-1.0, 1.0) + 1.0) / 2.0


def stretched(maps: Tensor) -> Tensor:
    """(..., h, w) with each map's least and greatest value at 0 and 1; a constant map becomes 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def normal_values(decoded: Tensor, kind: NormalRange) -> Tensor:
    """(N, 3, h, w) decoded channels to surface normals in the authors' axes, (N, 3, h, w)."""
    if kind is NormalRange.SOFT_UNIT:
        for _ in range(2):
            decoded = decoded / (decoded.norm(dim=1, keepdim=True) + 1e-5)
        return decoded
    clipped = decoded.clamp(-1.0, 1.0)
    return unit(clipped) if kind is NormalRange.UNIT else clipped


def unit(vectors: Tensor) -> Tensor:
    """(N, 3, h, w) at unit length; lengths below 1e-6 are taken for 1e-6."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)
