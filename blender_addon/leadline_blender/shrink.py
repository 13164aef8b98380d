# SPDX-License-Identifier: GPL-3.0-or-later
"""A second Blender, without a window, that makes a picture smaller: `shrink.py FILE EDGE COLOURS ALPHA OUT`.

OUT.npz gets `values`, float32 (H, W, C) with row 0 at the bottom, of no more than EDGE pixels on a side, and `linear`, whether
colours are scene-linear. COLOURS and ALPHA are the image's colour space and alpha mode; empty: as Blender chooses.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import bpy
import numpy as np


def main(path: str, edge: int, colours: str, alpha: str, out: str) -> None:
    image: Any = bpy.data.images.load(path)
    if alpha:
        image.alpha_mode = alpha
    if colours:
        image.colorspace_settings.name = colours
    width, height = image.size
    if not width or not height:
        raise RuntimeError(f"Blender cannot read {path}")
    shrink = edge / max(width, height)
    if shrink < 1:
        width, height = max(round(width * shrink), 1), max(round(height * shrink), 1)
        image.scale(width, height)
    values = np.empty((height, width, image.channels), np.float32)
    image.pixels.foreach_get(values.ravel())
    np.savez(out, values=values, linear=image.is_float and image.colorspace_settings.name != "sRGB")


if __name__ == "__main__":
    file, edge_px, *rest = sys.argv[sys.argv.index("--") + 1 :]
    main(file, int(edge_px), *rest)
    sys.stdout.flush()
    os._exit(0)  # Blender as a Python module may hang when it ends
