# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the 3D viewport."""

from __future__ import annotations

import textwrap

import bpy

from . import live, runtime
from .host import PanelPart, present
from .install_ops import draw_install, needs_server
from .live_ops import draw_live
from .paint_ops import BRUSHES
from .properties import memory_of, settings_of
from .rebuild import draw_mesh_options
from .shot import MOVES
from .straighten_ops import SURFACES


class _Panel(PanelPart):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Leadline"


class LEADLINE_PT_main(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_main"
    bl_label = "Leadline"

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = settings_of(context)
        layout.row().prop(settings, "source", expand=False)
        if settings.source == "FILE":
            layout.prop(settings, "filepath", text="")
        elif settings.source == "IMAGE":
            layout.prop(settings, "image", text="")
        layout.prop(settings, "result")
        row = layout.row(align=True)
        row.prop(settings, "model")
        if runtime.models:
            row.menu("LEADLINE_MT_models", text="", icon="DOWNARROW_HLT")
        else:
            row.operator("leadline.refresh_models", text="", icon="FILE_REFRESH")
        layout.prop(settings, "quality")
        layout.prop(settings, "detail")
        if settings.quality == "CUSTOM":
            column = layout.column(align=True)
            column.prop(settings, "steps")
            column.prop(settings, "ensemble")
            column.prop(settings, "size")
            column.prop(settings, "seed")
        if runtime.busy():
            row = layout.row(align=True)
            task = present(runtime.task)
            row.progress(factor=task.fraction, type="BAR", text=task.text.capitalize())
            row.operator("leadline.cancel", text="", icon="CANCEL")
        elif needs_server(context):
            draw_install(layout.box(), context)
        else:
            row = layout.row()
            row.scale_y = 1.5
            row.operator("leadline.generate", icon="MESH_GRID")
        _draw_message(layout, context)


class LEADLINE_PT_mesh(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_mesh"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Mesh"

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        thing = context.active_object
        metric = thing is not None and memory_of(thing).photo is not None and memory_of(thing).metric
        draw_mesh_options(layout, settings_of(context), metric)
        layout.prop(settings_of(context), "update_existing")
        layout.operator("leadline.rebuild", icon="FILE_REFRESH")
        if thing is not None and live.modifier_of(thing) is not None:
            draw_live(layout.box(), thing)


class LEADLINE_PT_shot(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_shot"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Camera Move"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        row = present(self.layout).row(align=True)
        for move in MOVES:
            row.operator("leadline.camera_move", text=move.capitalize()).move = move
        present(self.layout).operator("leadline.stereo_pair", icon="CAMERA_STEREO")


class LEADLINE_PT_own_depth(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_own_depth"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Own Depth"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.template_ID(settings_of(context), "own_depth", open="image.open")
        layout.operator_menu_enum("leadline.use_depth", "meaning", icon="IMAGE_ZDEPTH")


class LEADLINE_PT_paint(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_paint"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Paint Depth"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        grid = layout.grid_flow(columns=2, align=True)
        for brush, name, *_ in BRUSHES:
            grid.operator("leadline.paint", text=name).brush = brush
        thing = context.active_object
        if thing is not None and memory_of(thing).paint is not None:
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            column.prop(memory_of(thing), "paint_share")
        row = layout.row(align=True)
        row.operator("leadline.apply_paint", icon="CHECKMARK")
        row.operator("leadline.clear_paint", text="", icon="X")


class LEADLINE_PT_surfaces(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_surfaces"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Floors and Walls"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        row = present(self.layout).row(align=True)
        for kind, name, _ in SURFACES:
            row.operator("leadline.mark_surface", text=name).surface = kind
        present(self.layout).operator("leadline.straighten", icon="MOD_SOLIDIFY")


class LEADLINE_PT_references(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_references"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Reference Points"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings_of(context), "reference_m")
        adding = layout.operator("leadline.add_reference", icon="EMPTY_AXIS")
        adding.distance_m = settings_of(context).reference_m
        layout.separator()
        layout.prop(settings_of(context), "length_m")
        layout.operator("leadline.measure_length", icon="DRIVER_DISTANCE").length_m = settings_of(context).length_m
        thing = context.active_object
        if thing is not None and thing.type == "EMPTY":
            column = layout.column(align=True)
            column.prop(memory_of(thing), "reference_m")
            column.prop(memory_of(thing), "length_to")
            column.prop(memory_of(thing), "length_m")
        layout.operator("leadline.scale_to_references", icon="FIXED_SIZE")


class LEADLINE_PT_maps(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_maps"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Maps"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings_of(context), "maps_folder")
        layout.prop(settings_of(context), "occlusion_m")
        layout.operator("leadline.export_maps", icon="EXPORT")
        layout.prop(settings_of(context), "normals_model")
        layout.operator("leadline.normal_map", icon="NORMALS_FACE")


class LEADLINE_PT_folder(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_folder"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Folder"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = settings_of(context)
        layout.prop(settings, "batch_folder")
        layout.row().prop(settings, "batch_result", expand=True)
        if settings.batch_result == "MAPS":
            layout.prop(settings, "maps_folder")
        layout.operator("leadline.batch", icon="FILE_FOLDER")


class LEADLINE_PT_film(_Panel, bpy.types.Panel):
    bl_idname = "LEADLINE_PT_film"
    bl_parent_id = "LEADLINE_PT_main"
    bl_label = "Film"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = settings_of(context)
        layout.prop(settings, "sequence_path")
        layout.prop(settings, "sequence_folder")
        layout.row().prop(settings, "sequence_result", expand=True)
        layout.prop(settings, "sequence_frames")
        layout.operator("leadline.sequence", icon="RENDER_ANIMATION")


def _draw_message(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The last outcome, wrapped to the sidebar's width."""
    kind, text, fix = runtime.message
    if not text:
        return
    # About 7 pixels for a letter at Blender's default size.
    width = max(20, int(present(context.region).width / (7.5 * present(context.preferences).system.ui_scale)) - 6)
    box = layout.box().column(align=True)
    for number, line in enumerate(textwrap.wrap(text, width)):
        box.label(text=line, icon="NONE" if number else ("ERROR" if kind == "ERROR" else "INFO"))
    if fix:
        box.operator(fix)
    elif kind == "ERROR":
        box.operator("leadline.test_connection", icon="LINKED")


CLASSES = (
    LEADLINE_PT_main,
    LEADLINE_PT_mesh,
    LEADLINE_PT_shot,
    LEADLINE_PT_own_depth,
    LEADLINE_PT_paint,
    LEADLINE_PT_surfaces,
    LEADLINE_PT_references,
    LEADLINE_PT_maps,
    LEADLINE_PT_folder,
    LEADLINE_PT_film,
)
