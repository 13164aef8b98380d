# SPDX-License-Identifier: GPL-3.0-or-later
"""The focal length of a photograph whose file does not say it."""

from __future__ import annotations

import bpy

from leadline.errors import InputError
from leadline.geometry import directions_from_lines
from leadline.sensors.pinhole import FULL_FRAME_WIDTH_MM

from . import photos, runtime
from .host import item
from .properties import settings_of
from .running import TaskOperator
from .task import Report, Task

_WORKING_EDGE = 1024


class LEADLINE_OT_lens_from_lines(TaskOperator, bpy.types.Operator):
    """Estimate the focal length from straight lines at right angles: for rooms and houses seen at an angle"""

    bl_idname = "leadline.lens_from_lines"
    bl_label = "From Straight Lines"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy()

    def begin(self, context: bpy.types.Context) -> Task:
        photo = photos.photo_from_settings(context)
        image = photo.data_block()
        self._image = image.name
        orientation = photos.orientation_of(image)
        height, width = photos.upright_size(image, orientation)
        shrink = min(1.0, _WORKING_EDGE / max(height, width))
        size = max(round(height * shrink), 1), max(round(width * shrink), 1)

        def work(report: Report) -> float:
            report.progress("looking for straight lines", 0.0)
            picture = photos.read(report, lambda: item(bpy.data.images, self._image) or photo.data_block()).picture(
                size
            )
            found = directions_from_lines(picture[..., :3])
            if found is None:
                raise InputError("the lines in this photograph do not tell its focal length; set it under Lens")
            return found.focal_px / max(size) * FULL_FRAME_WIDTH_MM

        return Task(work, "Lens")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        settings = settings_of(context)
        settings.focal_from, settings.lens_mm = "LENS", task.result
        return f"About {task.result:.0f} mm (full frame); press Update Mesh"


CLASSES = (LEADLINE_OT_lens_from_lines,)
