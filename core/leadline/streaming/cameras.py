"""From the numbers of a `sensor_msgs/CameraInfo` to the camera of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError


@dataclass(frozen=True)
class Camera:
    width: int
    height: int
    matrix: npt.NDArray[np.float64]

    def rays(self) -> npt.NDArray[np.float32]:
        x = (np.arange(self.width) - self.matrix[0, 2]) / self.matrix[0, 0]
        y = (np.arange(self.height) - self.matrix[1, 2]) / self.matrix[1, 1]
        return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


@dataclass(frozen=True)
class CameraValues:
    """Fields of a CameraInfo.

    Attributes:
        width, height: Of the full sensor at the calibration's resolution.
        model: "plumb_bob", "rational_polynomial", "equidistant" ...; may be empty.
        k: 3×3 intrinsics by rows.
        d: Distortion, as many numbers as the model has.
        p: 3×4 projection of the rectified image by rows.
        binning: (x, y); 0 means 1.
        roi: (x_offset, y_offset, width, height) in full-resolution pixels; zero width and height mean everything.
    """

    width: int
    height: int
    model: str
    k: tuple[float, ...]
    d: tuple[float, ...]
    p: tuple[float, ...]
    binning: tuple[int, int] = (1, 1)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the images it describes, after region of interest and binning."""
        _, _, roi_width, roi_height = self.roi
        width, height = roi_width or self.width, roi_height or self.height
        return width // max(self.binning[0], 1), height // max(self.binning[1], 1)

    def mismatch(self, width: int, height: int) -> str:
        """Why it does not describe an image of this size; empty if it does."""
        described = self.image_size
        if described == (width, height):
            return ""
        return (
            f"camera_info describes images of {described[0]}x{described[1]} but the image is {width}x{height}; "
            "it is ignored until they agree"
        )

    def camera(self, rectified: bool) -> Camera:
        """The camera of the images it describes.

        Args:
            rectified: The image is rectified already: take ``p`` and no distortion.

        Raises:
            InputError: Not calibrated (K is zero), not finite, or a distortion model that is not known.
        """
        numbers = self.p if rectified else self.k
        if not np.isfinite([*numbers, *self.d]).all() or numbers[0] <= 0 or (len(numbers) > 5 and numbers[5 if rectified else 4] <= 0):
            raise InputError("camera_info is not calibrated (focal length is zero); calibrate the camera")
        matrix = np.array(numbers, dtype=np.float64).reshape(3, -1)[:, :3].copy()
        x_bin, y_bin = max(self.binning[0], 1), max(self.binning[1], 1)
        matrix[0, 2] -= self.roi[0]
        matrix[1, 2] -= self.roi[1]
        matrix[0] /= x_bin
        matrix[1] /= y_bin
        width, height = self.image_size
        return Camera(width, height, matrix)
