"""Metric depth in 16-bit images, and sparse depth from files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.files.output import PNG16_MAX, read_png16
from leadline.types import FloatMap

#: Codes of a 16-bit PNG per metre, by the name of its unit.
UNITS = {"mm": 1000.0, "kitti": 256.0}


class Coded(NamedTuple):
    """A map in 16 bits, and how many of its pixels did not fit."""

    codes: npt.NDArray[np.uint16]
    misfits: int


def codes(metres: FloatMap, per_metre: float, saturate: bool = False) -> Coded:
    """Metres (H, W) to 16 bits; what does not fit becomes 0, "unknown", or the largest code if ``saturate``."""
    scaled = np.rint(metres.astype(np.float64) * per_metre)
    fits = scaled <= PNG16_MAX
    coded = np.where(fits, scaled, PNG16_MAX if saturate else 0).astype(np.uint16)
    return Coded(coded, int(fits.size - fits.sum()))


def read_sparse(path: Path, per_metre: float) -> FloatMap:
    """Sparse depth from a 16-bit PNG or a .npy file, metres (H, W), 0 where not measured.

    Args:
        path: The file.
        per_metre: Codes of a PNG per metre (see :data:`UNITS`); a .npy holds metres.

    Raises:
        InputError: Not a 16-bit PNG or a 2D array of numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path of the sparse depth")
    if path.suffix.lower() == ".png":
        return read_png16(path).astype(np.float32) / np.float32(per_metre)
    if path.suffix.lower() != ".npy":
        raise InputError(f"{path}: sparse depth is a 16-bit .png or a .npy")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy file of numbers") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path} must hold floating-point metres (H, W), not {array.dtype} {array.shape}")
    return array.astype(np.float32)
