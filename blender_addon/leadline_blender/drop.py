# SPDX-License-Identifier: GPL-3.0-or-later
"""File > Import, and photographs dropped into the viewport."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from .host import Outcome, present
from .properties import settings_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr")


class LEADLINE_OT_import_image(bpy.types.Operator, ImportHelper):  # type: ignore[misc]  # both have `check`
    """Turn an image file into a mesh by its depth, with the settings of the Leadline panel"""

    bl_idname = "leadline.import_image"
    bl_label = "Image as Depth Mesh"
    bl_options = {"INTERNAL"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_glob: StringProperty(default=";".join(f"*{s}" for s in SUFFIXES), options={"HIDDEN"})  # type: ignore[valid-type]

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:  # type: ignore[override]
        if self.filepath:  # dropped
            return self.execute(context)
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> Outcome:
        settings = settings_of(context)
        settings.source, settings.filepath = "FILE", self.filepath
        call = "EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT"
        bpy.ops.leadline.generate(call, filepath=self.filepath)  # type: ignore[attr-defined]  # our own operator
        return {"FINISHED"}


class LEADLINE_FH_image(bpy.types.FileHandler):
    bl_idname = "LEADLINE_FH_image"
    bl_label = "Depth Mesh (Leadline)"
    bl_import_operator = "leadline.import_image"
    bl_file_extensions = ";".join(SUFFIXES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


def draw_import_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    present(self.layout).operator(LEADLINE_OT_import_image.bl_idname, text="Image as Depth Mesh (Leadline)")


CLASSES = (LEADLINE_OT_import_image, LEADLINE_FH_image)
