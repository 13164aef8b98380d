# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the geometry without asking the model again; also what the redo panel (F9) re-runs."""

from __future__ import annotations

from typing import Any

import bpy

from . import runtime
from .host import Outcome, present
from .properties import OPTION_NAMES, MeshOptions, Snapshot, copy_options, memory_of, settings_of
from .scene_task import ObjectTask
from .task import Task


def draw_mesh_options(layout: bpy.types.UILayout, options: MeshOptions, metric: bool = False) -> None:
    """The mesh options that matter for the chosen result."""
    layout.prop(options, "long_edge")
    if options.result == "PERSPECTIVE" or (options.result == "RELIEF" and not options.use_live):
        _switched(layout, options, "use_adaptive", "target_faces")
    if options.result in ("PERSPECTIVE", "PANORAMA"):
        column = layout.column(align=True)
        column.active = not metric
        column.prop(options, "near_m")
        column.prop(options, "far_m")
    if options.result == "PERSPECTIVE":
        _draw_scene_options(layout, options)
    elif options.result != "PANORAMA":
        column = layout.column(align=True)
        column.prop(options, "width_m")
        column.prop(options, "height_m")
        column.prop(options, "use_live")
    if options.result == "RELIEF" and not options.use_live:
        _switched(layout, options, "use_base", "base_m")
        row = layout.row()
        row.active = not options.use_base
        row.prop(options, "cut_relief")
        if options.cut_relief and not options.use_base:
            layout.prop(options, "cut")
    elif options.result in ("RELIEF", "DISPLACEMENT") and options.use_live:
        layout.prop(options, "cut_relief")
        if options.cut_relief:
            layout.prop(options, "cut")
    if options.result in ("PERSPECTIVE", "RELIEF"):
        _switched(layout, options, "remove_sky", "sky_from")
    layout.prop(options, "shading")
    if options.result == "PERSPECTIVE":
        layout.prop(options, "match_render")


def _draw_scene_options(layout: bpy.types.UILayout, options: MeshOptions) -> None:
    row = layout.row(align=True)
    row.prop(options, "focal_from")
    row.operator("leadline.lens_from_lines", text="", icon="VIEW_PERSPECTIVE")
    if options.focal_from == "LENS":
        layout.prop(options, "lens_mm")
    elif options.focal_from == "FOV":
        layout.prop(options, "fov")
    _switched(layout, options, "use_cut", "cut")
    column = layout.column()
    column.active = options.use_cut
    column.prop(options, "steepest")
    column.prop(options, "keep_planes")
    column.prop(options, "fill_behind")


def _switched(layout: bpy.types.UILayout, options: MeshOptions, switch: str, value: str) -> None:
    """A number that counts only while its switch is on."""
    rna: Any = options  # a property group or an operator: both know their properties
    row = layout.row(heading=rna.bl_rna.properties[switch].name)
    row.prop(options, switch, text="")
    sub = row.row()
    sub.active = getattr(options, switch)
    sub.prop(options, value, text="")


class LEADLINE_OT_rebuild(ObjectTask, MeshOptions, bpy.types.Operator):
    """Build the active Leadline object again with these options, from the depth that it has"""

    bl_idname = "leadline.rebuild"
    bl_label = "Update Mesh"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        if runtime.busy():
            cls.poll_message_set("Leadline is at work already")
            return False
        if thing is None or memory_of(thing).photo is None or context.mode != "OBJECT":
            cls.poll_message_set("Select an object that Leadline made")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        copy_options(settings_of(context), self)
        return super().invoke(context, event)

    def begin(self, context: bpy.types.Context) -> Task:
        thing = present(context.active_object)
        for name in OPTION_NAMES:  # a script names what it wants changed; the rest stays as the object has it
            if not self.properties.is_property_set(name):
                setattr(self, name, getattr(memory_of(thing), name))
        self._options = Snapshot(self)
        self.choose(thing)
        return self.rebuilding(context, self._options)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return self.rebuilt(context, task, self._options)

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.prop(self, "result")
        draw_mesh_options(layout, self, memory_of(present(context.active_object)).metric)


CLASSES = (LEADLINE_OT_rebuild,)
