"""Depth maps that other networks made: a .npy and the space in which its numbers are affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError


def read_map(path: Path, space: Space | str) -> DepthPrediction:
    """Any network's relative map, to be completed like our own.

    Args:
        path: A .npy of numbers (H, W), finite, at the image's size.
        space: What they are affine in: ``disparity`` (Depth Anything, MiDaS), ``depth`` (Marigold, MoGe), ``log_depth``,
            ``sqrt_disparity``. A map in metres is affine in ``depth``, too.

    Raises:
        InputError: No such file or space, or not such an array.
    """
    try:
        known = Space(space)
    except ValueError as error:
        raise InputError(f"{space!r} is not a space; use {', '.join(one.value for one in Space)}") from error
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path of the map")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy file of numbers") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.number):
        raise InputError(f"{path} must hold numbers (H, W), not {array.dtype} {array.shape}")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{path} has NaN or infinite values; fill them, for example with the far end of the map")
    return DepthPrediction(values, known, model=path.stem)
