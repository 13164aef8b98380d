"""Writing maps to files, whole or not at all: 16-bit PNG, .npy, EXR, colour previews."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError, LeadlineError
from leadline.files.whole import write_bytes
from leadline.types import FloatMap

PNG16_MAX = 65535
MILLIMETRES_PER_METRE = 1000.0


@dataclass(frozen=True)
class Quantisation:
    """How a 16-bit image stores a map: value = low + (high - low) * code / 65535."""

    low: float
    high: float

    @classmethod
    def of(cls, values: FloatMap) -> Quantisation:
        """The range of one map."""
        low, high = float(values.min()), float(values.max())
        return cls(low, high if high > low else low + 1.0)

    def widened(self, share: float) -> Quantisation:
        """Room for later maps: ``share`` of the range more on both sides."""
        margin = (self.high - self.low) * share
        return Quantisation(self.low - margin, self.high + margin)

    def encode(self, values: FloatMap) -> npt.NDArray[np.uint16]:
        """float32 to uint16; values outside the range go to its ends."""
        codes = (values.astype(np.float64) - self.low) / (self.high - self.low) * PNG16_MAX
        return np.rint(np.clip(codes, 0, PNG16_MAX)).astype(np.uint16)

    def decode(self, codes: npt.NDArray[np.uint16]) -> FloatMap:
        """The inverse of :meth:`encode`, to within half a code."""
        return (self.low + (self.high - self.low) * codes.astype(np.float64) / PNG16_MAX).astype(np.float32)


def millimetres(depth_m: FloatMap) -> npt.NDArray[np.uint16]:
    """Metres to 16-bit millimetres, 0 where depth is not positive or beyond 65.535 m."""
    mm = np.rint(np.nan_to_num(depth_m.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0) * MILLIMETRES_PER_METRE)
    return np.where((mm > 0) & (mm <= PNG16_MAX), mm, 0).astype(np.uint16)


def uncertainty_preview(uncertainty: FloatMap) -> npt.NDArray[np.uint8]:
    """RGB uint8 (H, W, 3): unsure is bright (OpenCV's Inferno), white point at the 99th percentile."""
    top = max(float(np.percentile(uncertainty, 99)), float(np.finfo(np.float32).tiny))
    codes = np.rint(np.clip(uncertainty / top, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)[:, :, ::-1])


def conditioning_map(prediction: DepthPrediction) -> npt.NDArray[np.uint8]:
    """8-bit (H, W), near is bright, full range: what depth-conditioned ControlNets were trained on."""
    return np.rint(prediction.nearness() * 255).astype(np.uint8)


def png(image: npt.NDArray[Any]) -> bytes:
    """A PNG file: RGB or grey, 8 or 16 bits."""
    ordered = image[:, :, ::-1] if image.ndim == 3 else image
    done, buffer = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not done:
        raise LeadlineError("this OpenCV cannot write PNG files; install opencv-python-headless")
    return buffer.tobytes()


def jpeg(image: npt.NDArray[np.uint8], quality: int = 88) -> bytes:
    """A JPEG file of RGB uint8 (H, W, 3)."""
    done, buffer = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise LeadlineError("this OpenCV cannot write JPEG files; install opencv-python-headless")
    return buffer.tobytes()


def npy(values: FloatMap | npt.NDArray[np.uint8]) -> bytes:
    """A NumPy array file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def exr(values: FloatMap) -> bytes:
    """An OpenEXR file, float32, ZIP-compressed, lossless: (H, W) as channel "Y", (H, W, 3) as R, G and B."""
    import OpenEXR  # noqa: PLC0415 (OpenCV's wheels no longer carry EXR; few runs need it)

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:  # the library writes to named files only
        path = Path(folder) / "map.exr"
        with OpenEXR.File(
            header, {"Y" if values.ndim == 2 else "RGB": np.ascontiguousarray(values, np.float32)}
        ) as file:
            file.write(str(path))
        return path.read_bytes()


def write_png(path: Path, image: npt.NDArray[Any]) -> None:
    """See :func:`png`."""
    write_bytes(path, png(image))


def write_exr(path: Path, values: FloatMap) -> None:
    """See :func:`exr`."""
    write_bytes(path, exr(values))


def write_npy(path: Path, values: FloatMap) -> None:
    """See :func:`npy`."""
    write_bytes(path, npy(values))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One JSON object."""
    write_bytes(path, (json.dumps(content, indent=1, default=str) + "\n").encode())


def read_png16(path: Path) -> npt.NDArray[np.uint16]:
    """The codes of a 16-bit grey PNG.

    Raises:
        InputError: It is missing, damaged or not 16-bit grey.
    """
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16 or codes.ndim != 2:
        raise InputError(f"{path} is not a readable 16-bit grey PNG; make it again")
    return codes.astype(np.uint16, copy=False)


def read_exr(path: Path) -> FloatMap:
    """The channel "Y" of an OpenEXR file, float32 (H, W).

    Raises:
        InputError: It is missing, damaged or has no such channel.
    """
    import OpenEXR  # noqa: PLC0415

    try:
        with OpenEXR.File(str(path)) as file:
            return np.asarray(file.channels()["Y"].pixels, np.float32)
    except (RuntimeError, OSError, KeyError) as error:
        raise InputError(f"{path} is not a readable OpenEXR depth map; make it again") from error
