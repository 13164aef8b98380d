"""From a `sensor_msgs/CameraInfo` to the camera of one image, and to the rays of its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from leadline.errors import InputError
from leadline.types import BoolMap, FloatMap, RgbImage

if TYPE_CHECKING:
    from leadline.sensors.camera import CalibratedCamera


def described_size(info: Any) -> tuple[int, int]:
    """(width, height) of the images that a CameraInfo describes, after region of interest and binning."""
    width, height = info.roi.width or info.width, info.roi.height or info.height
    return int(width) // max(int(info.binning_x), 1), int(height) // max(int(info.binning_y), 1)


def camera_of(info: Any, rectified: bool) -> CalibratedCamera:
    """The camera of the images that a CameraInfo describes.

    Args:
        info: `sensor_msgs/CameraInfo` of any message library.
        rectified: The image is rectified already: take P and no distortion.

    Raises:
        InputError: Not calibrated (K or P is zero), not finite, or of an unknown distortion model.
    """
    if (info.p if rectified else info.k)[0] == 0:
        raise InputError("camera_info is not calibrated (its focal length is zero); calibrate the camera")
    from leadline.sensors.camera import CalibratedCamera  # noqa: PLC0415  (its package imports torch)

    camera = CalibratedCamera.from_info(info, rectified)
    if info.roi.width and info.roi.height:
        matrix = camera.matrix.copy()
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
        camera = replace(camera, width=int(info.roi.width), height=int(info.roi.height), matrix=matrix)
    return camera.resized(*described_size(info))


class CameraCache:
    """The camera of the last CameraInfo: a driver repeats the same calibration thirty times a second."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._camera: CalibratedCamera | None = None

    def camera(self, info: Any, rectified: bool) -> CalibratedCamera:
        """As :func:`camera_of`; the same object as long as the numbers are the same."""
        roi = (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
        numbers = (tuple(info.k), tuple(info.d), tuple(info.p))
        key = (info.width, info.height, info.distortion_model, info.binning_x, info.binning_y, roi, numbers, rectified)
        if self._camera is None or key != self._key:
            self._camera = camera_of(info, rectified)
            self._key = key
        return self._camera


class RayCache:
    """The rays of the last camera."""

    def __init__(self) -> None:
        self._camera: CalibratedCamera | None = None
        self._rays: FloatMap = np.zeros((0, 0, 2), np.float32)

    def rays(self, camera: CalibratedCamera) -> FloatMap:
        """float32 (H, W, 2): x/z and y/z of each pixel."""
        if camera is not self._camera:
            ones = np.ones((camera.height, camera.width))
            self._rays = np.ascontiguousarray(camera.cloud(ones)[..., :2], dtype=np.float32)
            self._camera = camera
        return self._rays


@dataclass(frozen=True)
class RectifiedView:
    """A distorted camera's images as a pinhole camera in its place sees them.

    Attributes:
        camera: The pinhole.
        outside: bool (H, W), what the distorted camera does not show.
    """

    camera: CalibratedCamera
    outside: BoolMap
    _maps: tuple[Any, Any]
    _nearest: tuple[Any, Any]  # row and column

    @classmethod
    def of(cls, camera: CalibratedCamera) -> RectifiedView:
        """For the images of ``camera``."""
        pinhole = camera.rectified()
        v, u = np.indices((pinhole.height, pinhole.width), dtype=np.float64)
        rays = pinhole.unproject(np.stack([u.ravel(), v.ravel()], axis=1), np.ones(u.size))
        pixels, _ = camera.project(rays)
        x, y = (pixels[:, axis].reshape(u.shape).astype(np.float32) for axis in (0, 1))
        with np.errstate(invalid="ignore"):
            inside = (x >= -0.5) & (y >= -0.5) & (x <= camera.width - 0.5) & (y <= camera.height - 0.5)
        places = (np.where(inside, x, -9.0), np.where(inside, y, -9.0))
        nearest = tuple(
            np.rint(place).clip(0, end - 1).astype(np.int64)
            for place, end in zip(places, (camera.width, camera.height), strict=True)
        )
        return cls(pinhole, ~inside, cv2.convertMaps(*places, cv2.CV_16SC2), (nearest[1], nearest[0]))

    def image(self, rgb: RgbImage) -> RgbImage:
        """The image, black outside."""
        return np.asarray(cv2.remap(rgb, *self._maps, cv2.INTER_LINEAR), np.uint8)

    def sparse(self, depth_m: FloatMap) -> FloatMap:
        """Sparse depth of the image's size: never interpolated."""
        return np.where(self.outside, np.float32(0), depth_m[self._nearest])


class RectifiedCache:
    """The rectified view of the last camera."""

    def __init__(self) -> None:
        self._camera: CalibratedCamera | None = None
        self._view: RectifiedView | None = None

    def view(self, camera: CalibratedCamera) -> RectifiedView | None:
        """None if the camera is a pinhole already."""
        if camera is not self._camera:
            self._view = RectifiedView.of(camera) if camera.is_distorted else None
            self._camera = camera
        return self._view
