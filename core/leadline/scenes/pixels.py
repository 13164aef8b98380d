"""8-bit pictures: what training's augmentations and the scenes' photographs both do with them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def to_uint8(picture: npt.NDArray[np.floating]) -> Image:
    """From [0, 1], clipped, to 0 to 255, rounded."""
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def through_jpeg(rgb: Image, quality: int) -> Image:
    """What JPEG leaves of a picture: uint8 (H, W, 3)."""
    _, packed = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))[..., ::-1], dtype=np.uint8)
