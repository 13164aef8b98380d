# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth of a 360° panorama: the server is asked for each of its tiles, and all come onto one scale."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from leadline.errors import InputError
from leadline.geometry import measure_panorama

from . import photos
from .depth import Depth
from .properties import MeshOptions
from .task import Part, Report

#: Long edge of the panorama that tiles are cut from, pixels.
_EDGE = 4096


def depth_all_round(
    report: Report, image: Callable[[], bpy.types.Image], options: MeshOptions, ask: Callable[..., Depth]
) -> Depth:
    """For the thread. ``image`` gives the panorama, in the main thread; ``ask`` the depth of a picture.

    Raises:
        InputError: The photograph is no panorama, or its tiles do not fit together.
    """
    pixels = photos.upright_pixels(report, image, _EDGE)

    def look(index: int, count: int, picture: np.ndarray) -> Depth:
        report.check()
        return ask(Part(report, index, count), picture)

    try:
        metres, first = measure_panorama(pixels, look, (options.near_m, options.far_m))
    except ValueError as error:
        raise InputError(str(error)) from error
    values = metres if first.metric else np.asarray(first.space.from_depth(metres), np.float32)
    return Depth(values, first.space, first.metric, first.model, None, first.device)
