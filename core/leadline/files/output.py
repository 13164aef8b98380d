"""Writing maps to files, whole or not at all: 16-bit PNG, .npy, EXR, colour previews."""

from __future__ import annotations

import json
import os
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


def colourise(shades: FloatMap) -> npt.NDArray[np.uint8]:
    """[0, 1] (H, W) to RGB uint8 (H, W, 3): 1 warm, 0 cold (OpenCV's Turbo)."""
    codes = np.rint(np.clip(shades, 0.0, 1.0) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(codes, cv2.COLORMAP_TURBO)[:, :, ::-1])


def preview(prediction: DepthPrediction) -> npt.NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) for looking at: near is warm; the extreme 0.5 % at each end share a colour."""
    return colourise(prediction.nearness(0.5, 99.5))


def uncertainty_preview(uncertainty: FloatMap) -> npt.NDArray[np.uint8]:
    """RGB uint8 (H, W, 3): unsure is bright (OpenCV's Inferno), white point at the 99th percentile."""
    top = max(float(np.percentile(uncertainty, 99)), float(np.finfo(np.float32).tiny))
    codes = np.rint(np.clip(uncertainty / top, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)[:, :, ::-1])


def conditioning_map(prediction: DepthPrediction) -> npt.NDArray[np.uint8]:
    """8-bit (H, W), near is bright, full range: what depth-conditioned ControlNets were trained on."""
    return np.rint(prediction.nearness() * 255).astype(np.uint8)


def write_png(path: Path, image: npt.NDArray[Any]) -> None:
    """RGB or grey, 8 or 16 bits."""
    write_bytes(path, _encoded(".png", image))


def read_png16(path: Path) -> npt.NDArray[np.uint16]:
    """The codes of a 16-bit grey PNG.

    Raises:
        InputError: It is missing, damaged or not 16-bit grey.
    """
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16 or codes.ndim != 2:
        raise InputError(f"{path} is not a readable 16-bit grey PNG; make it again")
    return codes.astype(np.uint16, copy=False)


def write_exr(path: Path, values: FloatMap) -> None:
    """One float32 channel "Y", ZIP-compressed, lossless."""
    import OpenEXR  # noqa: PLC0415 (OpenCV's wheels no longer carry EXR; few runs need it)

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with _whole_file(path) as temporary, OpenEXR.File(header, {"Y": np.ascontiguousarray(values, np.float32)}) as file:
        file.write(str(temporary.path))


def write_npy(path: Path, values: FloatMap) -> None:
    """A NumPy array file."""
    with _whole_file(path) as temporary, open(temporary.path, "wb") as file:
        np.save(file, values)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One JSON object."""
    write_bytes(path, (json.dumps(content, indent=1, default=str) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """A file that is either complete or not there.

    Raises:
        LeadlineError: It cannot be written (disk full, no permission).
    """
    with _whole_file(path) as temporary:
        temporary.path.write_bytes(content)


def _encoded(suffix: str, image: npt.NDArray[Any]) -> bytes:
    ordered = image[:, :, ::-1] if image.ndim == 3 else image
    done, buffer = cv2.imencode(suffix, np.ascontiguousarray(ordered))
    if not done:
        raise LeadlineError(f"this OpenCV cannot write {suffix} files; install opencv-python-headless")
    return buffer.tobytes()


class _whole_file:
    """A temporary file beside ``path`` that takes its place when nothing went wrong, and vanishes otherwise."""

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path = path

    def __enter__(self) -> _whole_file:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.target.parent, prefix=f".{self.target.name}.")
        except OSError as error:
            raise _cannot_write(self.target, error) from error
        os.close(handle)
        self.path = Path(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                os.chmod(self.path, 0o644)
                os.replace(self.path, self.target)
            elif isinstance(error, OSError):
                raise _cannot_write(self.target, error) from error
        except OSError as failed:
            raise _cannot_write(self.target, failed) from failed
        finally:
            self.path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> LeadlineError:
    return LeadlineError(
        f"{path} cannot be written ({error.strerror or error}); free some space or choose another folder"
    )
