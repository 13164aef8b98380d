# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth that the artist brings: from another program, rendered, or painted over what a model said."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import EnumProperty

from leadline.depth.spaces import Space
from leadline.errors import InputError, LeadlineError

from . import photos, results, sight
from .depth import Depth, at_most
from .host import Outcome
from .properties import settings_of

#: What the numbers of an image mean → the space they are affine in, whether they are metres, and a sign.
MEANINGS = {
    "NEAR_WHITE": (Space.DISPARITY, False, 1.0),
    "FAR_WHITE": (Space.DISPARITY, False, -1.0),
    "METRES": (Space.DEPTH, True, 1.0),
}

_NOTHING_M = 1e9


class LEADLINE_OT_use_depth(bpy.types.Operator):
    """Build from a depth image of your own instead of asking a model: any image or EXR that Blender has loaded"""

    bl_idname = "leadline.use_depth"
    bl_label = "Build from Depth Image"
    bl_options = {"REGISTER", "UNDO"}

    meaning: EnumProperty(  # type: ignore[valid-type]
        name="Depth Image",
        items=[
            ("NEAR_WHITE", "White Is Near", "Brighter is nearer, as most programs paint depth"),
            ("FAR_WHITE", "White Is Far", "Brighter is farther, between the nearest and the farthest distance"),
            ("METRES", "Metres", "Every pixel is a distance along the camera's axis, as in Blender's depth pass"),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT" and settings_of(context).own_depth is not None

    def execute(self, context: bpy.types.Context) -> Outcome:
        settings = settings_of(context)
        try:
            image = photos.photo_from_settings(context).data_block(settings.update_existing)
            depth = depth_from_image(settings.own_depth, self.meaning)
            target = results.find_object(context, image) if settings.update_existing else None
            thing = results.build(context, image, depth, settings, target)
        except (LeadlineError, ValueError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if target is None:
            sight.show(context, thing)
        return {"FINISHED"}


def depth_from_image(image: bpy.types.Image, meaning: str) -> Depth:
    """An image as depth, upright by its own EXIF orientation.

    Raises:
        InputError: Its numbers are no depth.
    """
    space, metric, sign = MEANINGS[meaning]
    values = at_most(photos.read_map(image, photos.orientation_of(image)), photos.WORKING_EDGE)
    sound = np.isfinite(values) & (values > 0) if metric else np.isfinite(values)
    # Blender's depth pass has 10^10 where a ray meets nothing.
    sound &= values < _NOTHING_M
    if not sound.any() or np.ptp(values[sound]) == 0:
        raise InputError(f"{image.name} holds no depth: all its pixels are the same, empty or not above zero")
    values = np.where(sound, values, values[sound].max() if metric else values[sound].min())
    return Depth((sign * values).astype(np.float32), space, metric, image.name)


CLASSES = (LEADLINE_OT_use_depth,)
