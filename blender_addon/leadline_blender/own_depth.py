# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth that the artist brings: from another program, rendered, or painted over what a model said."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import EnumProperty

from leadline.depth.spaces import Space
from leadline.errors import InputError

from . import photos, results, runtime, sight
from .depth import Depth, at_most
from .host import item, mesh_of
from .properties import Snapshot, settings_of
from .running import TaskOperator
from .shaping import Shape, shape
from .task import Report, Task

#: What the numbers of an image mean → the space they are affine in, whether they are metres, and a sign.
MEANINGS = {
    "NEAR_WHITE": (Space.DISPARITY, False, 1.0),
    "FAR_WHITE": (Space.DISPARITY, False, -1.0),
    "METRES": (Space.DEPTH, True, 1.0),
}

_NOTHING_M = 1e9


class LEADLINE_OT_use_depth(TaskOperator, bpy.types.Operator):
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
        return not runtime.busy() and context.mode == "OBJECT" and settings_of(context).own_depth is not None

    def begin(self, context: bpy.types.Context) -> Task:
        settings = settings_of(context)
        self._update, self._options = settings.update_existing, Snapshot(settings)
        photo = photos.photo_from_settings(context).data_block(self._update)
        self._photo, meaning, options = photo.name, self.meaning, self._options
        given, name = (
            photos.stored(settings.own_depth, photos.orientation_of(settings.own_depth)),
            settings.own_depth.name,
        )

        def target() -> bpy.types.Object | None:
            return self._target(bpy.context, self._image())

        def work(report: Report) -> tuple[Depth, Shape]:
            depth = depth_of(given.numbers(), meaning, name)
            report.progress("building the surface", 1.0)
            return depth, shape(depth, results.look(report, self._image, options, target), options)

        return Task(work, name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        image, (depth, made) = self._image(), task.result
        target = self._target(context, image)
        thing = results.realise(context, image, depth, made, self._options, target)
        if target is None:
            sight.show(context, thing)
        return f"{thing.name}: {len(mesh_of(thing).vertices):,} vertices"

    def _image(self) -> bpy.types.Image:
        image = item(bpy.data.images, self._photo)
        if image is None:
            raise InputError("the photograph is gone; choose it again")
        return image

    def _target(self, context: bpy.types.Context, image: bpy.types.Image) -> bpy.types.Object | None:
        return results.find_object(context, image) if self._update else None


def depth_of(numbers: np.ndarray, meaning: str, name: str) -> Depth:
    """The numbers (H, W) of an image, upright, as depth.

    Raises:
        InputError: They are no depth.
    """
    space, metric, sign = MEANINGS[meaning]
    values = at_most(numbers, photos.WORKING_EDGE)
    sound = np.isfinite(values) & (values > 0) if metric else np.isfinite(values)
    # Blender's depth pass has 10^10 where a ray meets nothing.
    sound &= values < _NOTHING_M
    if not sound.any() or np.ptp(values[sound]) == 0:
        raise InputError(f"{name} holds no depth: all its pixels are the same, empty or not above zero")
    values = np.where(sound, values, values[sound].max() if metric else values[sound].min())
    return Depth((sign * values).astype(np.float32), space, metric, name)


CLASSES = (LEADLINE_OT_use_depth,)
