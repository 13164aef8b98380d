# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth of a 360° panorama: the server is asked for each of its tiles, and all come onto one scale."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from leadline.errors import InputError
from leadline.geometry import cut_out, panorama_distance, tiles

from . import photos
from .depth import Depth
from .properties import MeshOptions
from .shaping import check_panorama
from .task import Part, Report

#: Long edge of the panorama that tiles are cut from, pixels,
_EDGE = 4096
#: and of a tile: models see no more.
_TILE = 768
#: Height of the map all round.
_HEIGHT = 1024


def depth_all_round(
    report: Report, image: Callable[[], bpy.types.Image], options: MeshOptions, ask: Callable[..., Depth]
) -> Depth:
    """For the thread. ``image`` gives the panorama, in the main thread; ``ask`` the depth of a picture.

    Raises:
        InputError: The photograph is no panorama, or its tiles do not fit together.
    """
    pixels = report.on_main(lambda: photos.upright_pixels(image(), _EDGE))
    check_panorama(pixels.shape[:2])
    over = tiles(min(max(pixels.shape[1] // 4, 64), _TILE))
    found: list[Depth] = []
    for index, tile in enumerate(over):
        report.check()
        found.append(ask(Part(report, index, len(over)), cut_out(pixels, tile)))
    report.progress("fitting the parts together", 1.0)
    first, height = found[0], min(pixels.shape[0], _HEIGHT)
    range_m = options.near_m, options.far_m
    try:
        metres = panorama_distance([depth.values for depth in found], over, first.space, first.metric, range_m, height)
    except ValueError as error:
        raise InputError(str(error)) from error
    values = metres if first.metric else np.asarray(first.space.from_depth(metres), np.float32)
    return Depth(values, first.space, first.metric, first.model, None, first.device)
