"""`sensor_msgs/PointCloud2` layouts as plain NumPy: bytes → points, depth map → coloured cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.geometry.silhouettes import flying_points
from leadline.types import FloatMap

Points = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

#: `sensor_msgs/PointField.datatype` → NumPy.
_FIELD_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
FLOAT32 = 7

MAX_POINTS = 20_000_000


class Field(NamedTuple):
    """One field of a point: the part of `sensor_msgs/PointField` that matters."""

    name: str
    offset: int
    datatype: int


#: Fields of the clouds that :func:`cloud_from_depth` makes.
CLOUD_FIELDS = (
    Field("x", 0, FLOAT32),
    Field("y", 4, FLOAT32),
    Field("z", 8, FLOAT32),
    Field("rgb", 12, FLOAT32),
    Field("sigma", 16, FLOAT32),
)
CLOUD_STEP = 20


@dataclass(frozen=True)
class CloudFilter:
    """What to leave of a cloud; zero means "no limit" everywhere.

    Attributes:
        min_range_m, max_range_m: Distance from the camera.
        min_height_m, max_height_m: z in the frame of the cloud; used if the second is above the first.
        max_relative_sigma: Largest sigma, as a share of the distance.
        voxel_m: One point per cube of this size, the mean of those inside, with the smallest of their sigmas.
    """

    min_range_m: float = 0.0
    max_range_m: float = 0.0
    min_height_m: float = 0.0
    max_height_m: float = 0.0
    max_relative_sigma: float = 0.0
    voxel_m: float = 0.0

    @property
    def does_nothing(self) -> bool:
        """Whether the cloud stays as it is."""
        return self == CloudFilter()


def decode_points(
    fields: Sequence[Field],
    height: int,
    width: int,
    point_step: int,
    row_step: int,
    data: Any,
    big_endian: bool = False,
) -> Points:
    """Fields of a `sensor_msgs/PointCloud2` → finite points, float32 (N, 3), N may be 0; each axis lies in one piece.

    Any field order and numeric type, organised or not, padded rows; points with NaN or Inf are dropped.

    Raises:
        InputError: x, y or z is missing, a field lies outside its point, or the data is too short.
    """
    if height < 0 or width < 0 or height * width > MAX_POINTS:
        raise InputError(f"point cloud of {height}x{width} points is out of range")
    by_name = {field.name: field for field in fields}
    order = ">" if big_endian else "<"
    formats, offsets = [], []
    for axis in "xyz":
        field = by_name.get(axis)
        if field is None or field.datatype not in _FIELD_TYPES:
            raise InputError(f"point cloud has no numeric field {axis!r}; it has {sorted(by_name)[:12]}")
        formats.append(order + _FIELD_TYPES[field.datatype])
        offsets.append(field.offset)
        if field.offset < 0 or field.offset + np.dtype(formats[-1]).itemsize > point_step:
            raise InputError(f"point field {axis!r} lies outside the {point_step} bytes of a point")
    if height * width == 0:
        return np.zeros((0, 3), np.float32)
    flat = np.frombuffer(data, dtype=np.uint8)
    if row_step < width * point_step and height > 1:
        raise InputError(f"point cloud row_step {row_step} is less than {width} points of {point_step} bytes")
    if flat.size < row_step * (height - 1) + width * point_step:
        raise InputError(f"point cloud data has {flat.size} bytes where {row_step * height} were announced")
    strides = (row_step, point_step)
    columns = np.empty((3, height * width), np.float32)
    for column, kind, offset in zip(columns, formats, offsets, strict=True):
        with np.errstate(over="ignore"):
            column.reshape(height, width)[:] = np.ndarray((height, width), kind, flat, offset, strides)
    finite = np.isfinite(columns)
    return (columns if finite.all() else columns[:, finite.all(axis=0)]).T


def cloud_from_depth(
    depth_m: FloatMap,
    rays: FloatMap,
    rgb: Rgb,
    stride: int = 1,
    sigma_m: FloatMap | None = None,
    cut: float = 0.0,
) -> npt.NDArray[np.float32]:
    """An organised coloured cloud, float32 (h, w, 5) with the layout :data:`CLOUD_FIELDS`.

    Args:
        depth_m: (H, W) metres along the optical axis; pixels not finite and positive become NaN points.
        rays: (H, W, 2) x/z and y/z of each pixel.
        rgb: uint8 (H, W, 3).
        stride: Every how many pixels, both ways.
        sigma_m: (H, W) one standard deviation of the depth, metres; NaN in the cloud if unknown.
        cut: Relative jump in depth, in (0, 1), between whose two sides no points are left; 0: all points.
    """
    depth_m, rays, rgb = depth_m[::stride, ::stride], rays[::stride, ::stride], rgb[::stride, ::stride]
    known = np.isfinite(depth_m) & (depth_m > 0)
    if 0 < cut < 1 and min(depth_m.shape) > 2:
        known &= ~flying_points(depth_m, cut, _focal(rays))
    z = np.where(known, depth_m, np.float32(np.nan))
    cloud = np.empty((*z.shape, 5), np.float32)
    cloud[..., 0] = rays[..., 0] * z
    cloud[..., 1] = rays[..., 1] * z
    cloud[..., 2] = z
    channels = rgb.astype(np.uint32)
    cloud.view(np.uint32)[..., 3] = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    cloud[..., 4] = np.float32(np.nan) if sigma_m is None else sigma_m[::stride, ::stride]
    return cloud


def _focal(rays: FloatMap) -> float:
    """Steps of the grid (H, W, 2) to a unit of x/z, in its middle."""
    row, column = rays.shape[0] // 2, rays.shape[1] // 2
    return 1.0 / max(float(abs(rays[row, column, 0] - rays[row, column - 1, 0])), 1e-9)


def moved_cloud(cloud: npt.NDArray[np.float32], motion: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The same cloud in another frame.

    Args:
        cloud: (..., 5), see :func:`cloud_from_depth`.
        motion: 4×4 that takes points to the other frame.
    """
    moved = cloud.copy()
    moved[..., :3] = cloud[..., :3] @ motion[:3, :3].T.astype(np.float32) + motion[:3, 3].astype(np.float32)
    return moved


def filtered_cloud(
    cloud: npt.NDArray[np.float32], origin_m: npt.NDArray[np.float64], limits: CloudFilter
) -> npt.NDArray[np.float32]:
    """What the limits leave, (n, 5): finite points only.

    Args:
        cloud: (..., 5), see :func:`cloud_from_depth`.
        origin_m: (3,) the camera's place in the frame of the cloud.
        limits: What to leave.
    """
    points = cloud.reshape(-1, cloud.shape[-1])
    points = points[np.isfinite(points[:, 2])]
    distance = np.linalg.norm(points[:, :3] - origin_m.astype(np.float32), axis=1)
    kept = distance >= limits.min_range_m
    if limits.max_range_m > 0:
        kept &= distance <= limits.max_range_m
    if limits.max_height_m > limits.min_height_m:
        kept &= (points[:, 2] >= limits.min_height_m) & (points[:, 2] <= limits.max_height_m)
    if limits.max_relative_sigma > 0:
        with np.errstate(invalid="ignore"):
            kept &= points[:, 4] <= limits.max_relative_sigma * distance  # false where sigma is unknown
    points = points[kept]
    return _one_per_voxel(points, limits.voxel_m) if limits.voxel_m > 0 and len(points) else points


def _one_per_voxel(points: npt.NDArray[np.float32], voxel_m: float) -> npt.NDArray[np.float32]:
    """Mean place, the colour of one, and the smallest sigma of the points in each cube."""
    cells = np.floor(points[:, :3] / np.float32(voxel_m)).astype(np.int64)
    cells -= cells.min(axis=0)
    spans = cells.max(axis=0) + 1
    keys = (cells[:, 0] * spans[1] + cells[:, 1]) * spans[2] + cells[:, 2]
    order = np.argsort(keys, kind="stable")
    ordered = points[order]
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    counts = np.diff(starts, append=len(ordered))[:, None].astype(np.float32)
    thinned = ordered[starts]
    thinned[:, :3] = np.add.reduceat(ordered[:, :3], starts, axis=0) / counts
    thinned[:, 4] = np.fmin.reduceat(ordered[:, 4], starts)
    return thinned
