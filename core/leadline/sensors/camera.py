"""Cameras: pinhole and fisheye with distortion, from CameraInfo values or calibration files. OpenCV does the mathematics.

Pixel centres are at whole numbers. The camera's frame is x right, y down, z forward, metres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.sensors.pinhole import Pinhole, scaled_matrix
from leadline.sensors.products import product
from leadline.sensors.tuned import LENS

Matrix = npt.NDArray[np.float64]
Floats = npt.NDArray[Any]

#: Distortion model → the numbers of coefficients it may have. Names are those of `sensor_msgs/distortion_models`.
DISTORTION_MODELS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (0, 4),
}
#: The same models by other common names.
_ALIASES = {
    "": "plumb_bob",
    "none": "plumb_bob",
    "pinhole": "plumb_bob",
    "radtan": "plumb_bob",
    "fisheye": "equidistant",
}


@dataclass(frozen=True)
class CalibratedCamera:
    """A calibrated camera.

    Attributes:
        width, height: Pixels of the images it describes.
        matrix: 3×3 intrinsics ``[[fx, s, cx], [0, fy, cy], [0, 0, 1]]``.
        model: A key of :data:`DISTORTION_MODELS`.
        distortion: Coefficients in OpenCV's order; empty for none.

    Raises:
        InputError: Size, intrinsics or coefficients cannot be those of a camera.
    """

    width: int
    height: int
    matrix: Matrix
    model: str = "plumb_bob"
    distortion: Matrix = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        distortion = np.asarray(self.distortion, dtype=np.float64).ravel()
        model = _ALIASES.get(self.model.lower(), self.model.lower())
        if self.width < 1 or self.height < 1:
            raise InputError(
                f"a camera image of {self.width}x{self.height} pixels is impossible; check the calibration"
            )
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise InputError(f"intrinsics must be a finite 3x3 matrix, not {matrix.tolist()}")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or not np.allclose(matrix[2], [0, 0, 1]) or matrix[1, 0] != 0:
            raise InputError(
                f"intrinsics {matrix.tolist()} are singular or no camera's; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] "
                "with positive fx and fy (an uncalibrated CameraInfo holds zeros)"
            )
        if model not in DISTORTION_MODELS:
            raise InputError(f"distortion model {self.model!r} is not known; use one of {', '.join(DISTORTION_MODELS)}")
        if not np.isfinite(distortion).all():
            raise InputError("distortion coefficients must be finite numbers")
        if distortion.size not in DISTORTION_MODELS[model] and np.any(distortion):
            allowed = " or ".join(str(count) for count in DISTORTION_MODELS[model])
            raise InputError(f"{model} distortion has {allowed} coefficients, not {distortion.size}")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "distortion", distortion if np.any(distortion) else np.zeros(0))

    @classmethod
    def from_pinhole(cls, pinhole: Pinhole) -> CalibratedCamera:
        """Without distortion, the axis through the middle of the image."""
        return cls(pinhole.width, pinhole.height, pinhole.matrix)

    @classmethod
    def from_info(cls, info: Any, rectified: bool = False) -> CalibratedCamera:
        """From a `sensor_msgs/CameraInfo`, anything with its attributes, or a mapping with its keys (``k`` or ``K`` ...).

        Args:
            info: ``width``, ``height``, ``k``, ``d``, ``distortion_model``; ``p`` if ``rectified``.
            rectified: The image was rectified already: take the left 3×3 of ``p`` and no distortion.

        Raises:
            InputError: A value is missing or impossible.
        """
        width, height = (int(_value(info, name)) for name in ("width", "height"))
        if rectified:
            return cls(width, height, _numbers(_value(info, "p"), 12, "p").reshape(3, 4)[:, :3])
        matrix = _numbers(_value(info, "k"), 9, "k").reshape(3, 3)
        distortion = np.asarray(_value(info, "d", ()), dtype=np.float64)
        return cls(width, height, matrix, str(_value(info, "distortion_model", "")), distortion)

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines bend; a fisheye always does."""
        return self.distortion.size > 0 or self.model == "equidistant"

    def resized(self, width: int, height: int) -> CalibratedCamera:
        """The same camera with its images resized (not cropped) to another size; distortion is unaffected.

        Raises:
            InputError: The shape differs by more than rounding, so the image was cropped or is another camera's.
        """
        if (width, height) == (self.width, self.height):
            return self
        x, y = width / self.width, height / self.height
        if abs(x / y - 1) > 0.02 and abs(width - y * self.width) > 1 and abs(height - x * self.height) > 1:
            raise InputError(
                f"the calibration is for {self.width}x{self.height} images and this one is {width}x{height}: not the same "
                "shape, so it was cropped or belongs to another camera"
            )
        return replace(self, width=width, height=height, matrix=scaled_matrix(self.matrix, x, y))

    def check_size(self, width: int, height: int) -> None:
        """Raise :class:`InputError` unless the camera describes images of this size."""
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"the calibration is for {self.width}x{self.height} images but the image is {width}x{height}; "
                "resize the calibration with CalibratedCamera.resized() if the image was resized, not cropped"
            )

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """Points in the camera's frame to pixels.

        Args:
            points_m: (N, 3), metres.

        Returns:
            ``(pixels, depth_m)``: (N, 2) as (u, v), NaN for points that are not finite, not in front of the camera, or (with
            distortion) well outside of what the image shows, where the model would fold them back into it; and z (N,).
        """
        points = np.asarray(points_m)
        depth_m = points[:, 2]
        with np.errstate(all="ignore"):
            slope = np.ascontiguousarray(points[:, :2].T) / depth_m
            seen = np.isfinite(slope[0]) & np.isfinite(slope[1]) & (depth_m > 0) & (depth_m < np.inf)
        if not self.is_distorted:
            matrix = self.matrix.astype(slope.dtype)
            with np.errstate(invalid="ignore", over="ignore"):
                pixels = (product(matrix[:2, :2], slope) + matrix[:2, 2:]).T
            pixels[~seen] = np.nan
            return pixels, depth_m
        low, high, reach = self._view
        with np.errstate(invalid="ignore", over="ignore"):
            x, y = slope
            seen &= (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]) & (x * x + y * y <= reach * reach)
        chosen = np.flatnonzero(seen)
        pixels = np.full((len(points), 2), np.nan)
        pixels[chosen] = self._distort(slope.take(chosen, axis=1).T.astype(np.float64))
        return pixels, depth_m

    def unproject(self, pixels: Floats, depth_m: Floats) -> Matrix:
        """Pixels (N, 2) as (u, v) and their depth (N,) along the axis → points (N, 3) in the camera's frame, metres."""
        rays = self._undistort(np.asarray(pixels, dtype=np.float64).reshape(-1, 2))
        depth = np.asarray(depth_m, dtype=np.float64).reshape(-1, 1)
        return np.hstack([rays * depth, depth])

    def cloud(self, depth_m: Floats) -> Matrix:
        """A depth map (H, W) → points (H, W, 3) in the camera's frame, metres.

        Raises:
            InputError: The map has another size than the camera's images.
        """
        self.check_size(depth_m.shape[1], depth_m.shape[0])
        v, u = np.indices(depth_m.shape)
        return self.unproject(np.stack([u.ravel(), v.ravel()], axis=1), depth_m.ravel()).reshape(*depth_m.shape, 3)

    def rectified(self, keep_all: bool = False) -> CalibratedCamera:
        """The undistorted pinhole camera of the same size that :meth:`rectify` maps images to.

        Args:
            keep_all: Zoom out until every pixel of the original is inside (with empty borders) instead of keeping the
                focal length.
        """
        if not self.is_distorted:
            return self
        matrix = self.matrix.copy()
        matrix[0, 1] = 0.0
        if keep_all:
            edge = self._undistort(self._border())
            low, high = edge.min(axis=0), edge.max(axis=0)
            focal = (np.array([self.width, self.height]) - 1) / (high - low)
            focal[:] = focal.min()
            matrix = Pinhole(self.width, self.height, float(focal[0])).matrix
            matrix[:2, 2] -= focal * (low + high) / 2
        return CalibratedCamera(self.width, self.height, matrix)

    def rectify(self, image: npt.NDArray[Any], to: CalibratedCamera | None = None) -> npt.NDArray[Any]:
        """An image of this camera as ``to`` (``self.rectified()`` by default) would see it; black where nothing was seen.

        Raises:
            InputError: The image has another size than the calibration.
        """
        self.check_size(image.shape[1], image.shape[0])
        target = to or self.rectified()
        size = (target.width, target.height)
        identity = np.eye(3)
        if self.model == "equidistant":
            maps = cv2.fisheye.initUndistortRectifyMap(
                self.matrix, self._coefficients(), identity, target.matrix, size, cv2.CV_32FC1
            )
        else:
            maps = cv2.initUndistortRectifyMap(
                self.matrix, self._coefficients(), identity, target.matrix, size, cv2.CV_32FC1
            )
        return np.asarray(cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR))

    def _coefficients(self) -> Matrix:
        return self.distortion if self.distortion.size else np.zeros(4)

    def _distort(self, slopes: Matrix) -> Matrix:
        """(N, 2) x/z, y/z → pixels."""
        if len(slopes) == 0:
            return np.zeros((0, 2))
        if self.model != "equidistant" and self.distortion.size <= 8:
            return self._distort_radially(slopes)
        points = np.hstack([slopes, np.ones((len(slopes), 1))])[:, None]
        zero = np.zeros(3)
        if self.model == "equidistant":
            pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, self.matrix, self._coefficients())
        else:
            pixels, _ = cv2.projectPoints(points, zero, zero, self.matrix, self._coefficients())
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)

    def _distort_radially(self, slopes: Matrix) -> Matrix:
        """``cv2.projectPoints`` for up to eight coefficients, to its rounding, ten times faster: it also fills a Jacobian."""
        k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(self._coefficients().ravel(), (0, 8))[:8]
        x, y = slopes.T
        r2 = x * x + y * y
        stretch = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        if k4 or k5 or k6:
            stretch /= 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        xy = 2 * x * y
        bent = np.stack([x * stretch + p1 * xy + p2 * (r2 + 2 * x * x), y * stretch + p2 * xy + p1 * (r2 + 2 * y * y)])
        focal = np.array([[self.matrix[0, 0]], [self.matrix[1, 1]]])
        return np.ascontiguousarray((focal * bent + self.matrix[:2, 2:]).T)

    def _undistort(self, pixels: Matrix) -> Matrix:
        """(N, 2) pixels → x/z, y/z, converged to well under a thousandth of a pixel."""
        if len(pixels) == 0:
            return np.zeros((0, 2))
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
        if self.model == "equidistant":
            slopes = cv2.fisheye.undistortPoints(
                pixels[:, None], self.matrix, self._coefficients(), None, None, criteria=criteria
            )
        elif self.is_distorted:
            slopes = cv2.undistortPoints(
                pixels[:, None], self.matrix, self._coefficients(), None, np.eye(3), np.eye(3), criteria
            )
        else:
            slopes = np.linalg.solve(self.matrix, np.vstack([pixels.T, np.ones(len(pixels))]))[:2].T
        return np.asarray(slopes, dtype=np.float64).reshape(-1, 2)

    def _border(self) -> Matrix:
        u, v = np.linspace(0, self.width - 1, 32), np.linspace(0, self.height - 1, 32)
        sides = [(u, 0 * u), (u, 0 * u + self.height - 1), (0 * v, v), (0 * v + self.width - 1, v)]
        return np.vstack([np.stack(side, axis=1) for side in sides])

    @cached_property
    def _view(self) -> tuple[Matrix, Matrix, float]:
        """What the image shows, with a margin: lowest and highest x/z, y/z, and the largest tangent off the axis."""
        edge = self._undistort(self._border())
        edge = edge[np.isfinite(edge).all(axis=1)]
        if not edge.size:
            return np.zeros(2), np.zeros(2), 0.0
        low, high = edge.min(axis=0), edge.max(axis=0)
        margin = (LENS.corner_margin - 1) * (high - low)
        return low - margin, high + margin, float(LENS.corner_margin * np.linalg.norm(edge, axis=1).max())


_MISSING = object()


def _value(info: Any, name: str, default: Any = _MISSING) -> Any:
    """Field of a message or mapping; ROS 1 and files write the matrices in capitals."""
    for key in (name, name.upper()):
        if isinstance(info, Mapping):
            if key in info:
                return info[key]
        elif hasattr(info, key):
            return getattr(info, key)
    if default is _MISSING:
        raise InputError(f"the camera information has no {name!r}")
    return default


def _numbers(values: Sequence[float] | Floats, count: int, name: str) -> Matrix:
    try:
        numbers = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.size != count:
        raise InputError(f"camera {name!r} needs {count} numbers")
    return numbers
