"""A pinhole camera without distortion, in pixels, with the conversions that photographers and Blender speak.

Image points are counted in two ways. From the outer corner of the first pixel, as here: the middle is at half the size.
From the centre of the first pixel, as OpenCV, ROS and every 3×3 matrix here do: :func:`at_centres` goes from the first
to the second, and :func:`scaled_matrix` there and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

#: Width of the 35 mm film frame, which "full-frame" lenses are quoted for.
FULL_FRAME_WIDTH_MM = 36.0
#: Focal length over long edge when nothing is known: about 45 degrees, between a phone and a normal lens.
DEFAULT_FOCAL_PER_LONG_EDGE = 1.2


def at_centres(from_corner: float) -> float:
    """A coordinate counted from the outer corner → from the centre of the first pixel."""
    return from_corner - 0.5


def scaled_matrix(matrix: npt.NDArray[np.float64], across: float, down: float) -> npt.NDArray[np.float64]:
    """The intrinsics (3, 3) of the same picture, resized by these factors; pixel centres at whole numbers."""
    scaled = matrix.copy()
    scaled[:2, 2] += 0.5
    scaled[0] *= across
    scaled[1] *= down
    scaled[:2, 2] -= 0.5
    return scaled


@dataclass(frozen=True)
class Pinhole:
    """A pinhole whose axis passes through the middle of the picture.

    Attributes:
        width, height: Size of the photograph in pixels.
        focal_px: Focal length in pixels, > 0.
    """

    width: int
    height: int
    focal_px: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not (math.isfinite(self.focal_px) and self.focal_px > 0):
            raise ValueError(
                f"no camera has {self.width}×{self.height} pixels and a focal length of {self.focal_px} px"
            )

    @classmethod
    def default(cls, width: int, height: int) -> Pinhole:
        """The guess for a photograph of which nothing is known."""
        return cls(width, height, DEFAULT_FOCAL_PER_LONG_EDGE * max(width, height))

    @classmethod
    def from_lens(
        cls, width: int, height: int, lens_mm: float, sensor_width_mm: float = FULL_FRAME_WIDTH_MM
    ) -> Pinhole:
        """The camera of a lens whose sensor's ``sensor_width_mm`` spans the long edge of the picture."""
        return cls(width, height, lens_mm / sensor_width_mm * max(width, height))

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_degrees: float) -> Pinhole:
        """The camera that sees ``horizontal_degrees`` from the left edge to the right edge."""
        if not 0 < horizontal_degrees < 180:
            raise ValueError(f"a field of view lies between 0 and 180 degrees, not {horizontal_degrees}")
        return cls(width, height, 0.5 * width / math.tan(math.radians(horizontal_degrees) / 2))

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """Intrinsics (3, 3) for pixels whose centres are at whole numbers."""
        middle = at_centres(self.width / 2), at_centres(self.height / 2)
        return np.array([[self.focal_px, 0, middle[0]], [0, self.focal_px, middle[1]], [0, 0, 1.0]])

    def cosines(self) -> npt.NDArray[np.float64]:
        """(H, W): of the angle between the axis and the ray through the centre of each pixel; z over distance."""
        x, y = np.arange(self.width) + 0.5, np.arange(self.height) + 0.5
        return np.asarray(1.0 / np.linalg.norm(self.rays(x[None], y[:, None]), axis=-1))

    def lens_mm(self, sensor_width_mm: float = FULL_FRAME_WIDTH_MM) -> float:
        """Focal length of a lens whose sensor's ``sensor_width_mm`` spans the picture's width."""
        return self.focal_px / self.width * sensor_width_mm

    def rays(self, x_px: FloatArray, y_px: FloatArray) -> FloatArray:
        """Directions (..., 3) with z = -1 through image points; (0, 0) is the outer corner at the upper left."""
        x_px, y_px = np.broadcast_arrays(x_px, y_px)
        directions = np.empty((*x_px.shape, 3), np.result_type(x_px, np.float32))
        directions[..., 0] = (x_px - 0.5 * self.width) / self.focal_px
        directions[..., 1] = (0.5 * self.height - y_px) / self.focal_px
        directions[..., 2] = -1.0
        return directions

    def unproject(self, x_px: FloatArray, y_px: FloatArray, depth: FloatArray) -> FloatArray:
        """Points (..., 3) that lie ``depth`` along the axis behind image points."""
        return self.rays(x_px, y_px) * np.asarray(depth)[..., None]

    def project(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``x_px, y_px, depth`` of points (..., 3); points behind the camera have depth <= 0 and NaN pixels."""
        depth = -points[..., 2]
        safe = np.where(depth > 0, depth, np.nan)
        x_px = 0.5 * self.width + self.focal_px * points[..., 0] / safe
        y_px = 0.5 * self.height - self.focal_px * points[..., 1] / safe
        return x_px, y_px, depth
