"""SparseDepth: measured depth at pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import MAX_DEPTH_M, MIN_DEPTH_M
from leadline.errors import InputError
from leadline.sensors.tuned import POINTS


@dataclass(frozen=True)
class SparseDepth:
    """Depth at single pixels of one image, one value per pixel.

    Attributes:
        u, v: int64 (n,), column and row.
        depth_m: float32 (n,), metres along the axis, positive and finite.
        size: (H, W) of the image.
        dropped: How many measurements were not used, by reason.
        sigma_m: float32 (n,), one standard deviation of each, metres; None if the sensor does not say.
    """

    u: npt.NDArray[np.int64]
    v: npt.NDArray[np.int64]
    depth_m: npt.NDArray[np.float32]
    size: tuple[int, int]
    dropped: dict[str, int] = field(default_factory=dict)
    sigma_m: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.sigma_m is None:
            return
        if self.sigma_m.shape != self.depth_m.shape:
            raise InputError(f"{len(self.depth_m)} points need as many sigmas, not {self.sigma_m.shape}")
        if not (np.isfinite(self.sigma_m) & (self.sigma_m >= 0)).all():
            raise InputError("the sigma of a point must be a finite number of metres, 0 or more")

    def __len__(self) -> int:
        return len(self.depth_m)

    def subset(self, kept: npt.NDArray[np.bool_]) -> SparseDepth:
        """The points that ``kept``, bool (n,), selects."""
        sigma_m = None if self.sigma_m is None else self.sigma_m[kept]
        return replace(self, u=self.u[kept], v=self.v[kept], depth_m=self.depth_m[kept], sigma_m=sigma_m)

    def map(self, unknown: float = 0.0) -> npt.NDArray[np.float32]:
        """float32 (H, W), ``unknown`` where nothing was measured."""
        depth = np.full(self.size, unknown, dtype=np.float32)
        depth[self.v, self.u] = self.depth_m
        return depth


def nearest_points(
    u: npt.NDArray[np.int64], v: npt.NDArray[np.int64], depth_m: npt.NDArray[np.float32], size: tuple[int, int]
) -> SparseDepth:
    """The nearest point of each pixel, row by row.

    Args:
        u, v: int64 (n,), column and row within the image; several points may share a pixel.
        depth_m: float32 (n,), positive; infinite ones are left out.
        size: (H, W) of the image.
    """
    height, width = size
    pixels = v * width + u
    if POINTS.pixels_each * len(depth_m) < height * width:
        measured, nearest = _nearest_by_sorting(pixels, depth_m)
    else:
        measured, nearest = _nearest_by_map(pixels, depth_m, height * width)
    rows, columns = np.divmod(measured, width)
    return SparseDepth(columns, rows, nearest, size)


def _nearest_by_sorting(
    pixels: npt.NDArray[np.int64], depth_m: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Pixels in order, and the least depth of each. The bits of positive floats are in their order, too."""
    finite = np.isfinite(depth_m)
    if not finite.all():
        pixels, depth_m = pixels[finite], depth_m[finite]
    bits = np.ascontiguousarray(depth_m, np.float32).view(np.uint32)
    keys = np.sort((pixels.astype(np.uint64) << np.uint64(32)) | bits)
    sorted_pixels = (keys >> np.uint64(32)).astype(np.int64)
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(sorted_pixels[1:], sorted_pixels[:-1], out=first[1:])
    return sorted_pixels[first], keys[first].astype(np.uint32).view(np.float32)


def _nearest_by_map(
    pixels: npt.NDArray[np.int64], depth_m: npt.NDArray[np.float32], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The same through a map of all ``count`` pixels."""
    nearest = np.full(count, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixels, depth_m)
    measured = np.flatnonzero(np.isfinite(nearest))
    return measured, nearest[measured]


def points_of(sparse: npt.NDArray[Any] | SparseDepth, size: tuple[int, int]) -> tuple[SparseDepth, list[str]]:
    """Check sparse depth and list its points.

    Args:
        sparse: (H, W) metres with 0, NaN or infinity where nothing was measured, or a :class:`SparseDepth`.
        size: (H, W) of the image it belongs to.

    Returns:
        The points, and warnings in words.

    Raises:
        InputError: Another size than the image's (sparse depth cannot be resized), integers, or not metres.
    """
    warnings: list[str] = []
    if isinstance(sparse, SparseDepth):
        points = sparse
    else:
        depth = np.asarray(sparse)
        if depth.ndim != 2:
            raise InputError(f"sparse depth is (H, W) metres, not an array of shape {depth.shape}")
        if not np.issubdtype(depth.dtype, np.floating):
            raise InputError(
                f"sparse depth must be floating-point metres, not {depth.dtype}; divide millimetres by 1000"
            )
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero(depth > 0)
            negative = int(np.count_nonzero(depth < 0))
        if negative:
            warnings.append(f"{negative} points with negative depth were dropped")
        depth_m = depth.ravel()[found].astype(np.float32)
        usable = (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)
        v, u = np.divmod(found[usable], depth.shape[1])
        points = SparseDepth(u, v, depth_m[usable], (depth.shape[0], depth.shape[1]))
    if points.size != size:
        raise InputError(
            f"sparse depth is {points.size[1]}x{points.size[0]} and the image {size[1]}x{size[0]}; project the points at the "
            "image's size (a sparse map cannot be resized)"
        )
    if len(points) and float(np.median(points.depth_m)) > POINTS.implausible_m:
        raise InputError(f"the median of the sparse depth is {np.median(points.depth_m):.0f} m; is it in millimetres?")
    dropped = {reason: count for reason, count in points.dropped.items() if count}
    warnings.extend(f"{count} points dropped: {reason}" for reason, count in dropped.items())
    return points, warnings
