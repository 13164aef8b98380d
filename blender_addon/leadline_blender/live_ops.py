# SPDX-License-Identifier: GPL-3.0-or-later
"""Live inputs in the panel, and the button that makes a mesh of them."""

from __future__ import annotations

import bpy

from . import live
from .host import Outcome, mesh_of, present
from .properties import memory_of


class LEADLINE_OT_bake(bpy.types.Operator):
    """Make a mesh of the live relief, displacement or film as it is now"""

    bl_idname = "leadline.bake"
    bl_label = "Bake to Mesh"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT" and live.modifier_of(context.active_object) is not None

    def execute(self, context: bpy.types.Context) -> Outcome:
        bake(context, present(context.active_object))
        return {"FINISHED"}


def bake(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """Apply the live modifier; other modifiers stay. A relief or displacement is a relief of its height from then on."""
    memory, strength = memory_of(thing), None
    if live.STRENGTH in live.inputs(thing):
        strength = float(live.read(thing, live.STRENGTH))
    data = mesh_of(thing)
    if data.users > 1:  # a linked copy stays as it is
        thing.data = data.copy()
    with context.temp_override(object=thing, active_object=thing, selected_editable_objects=[thing]):
        bpy.ops.object.modifier_apply(modifier=live.MODIFIER)
    memory.use_live = False
    if strength is not None:
        memory.result, memory.height_m = "RELIEF", strength * present(context.scene).unit_settings.scale_length


def draw_live(layout: bpy.types.UILayout, thing: bpy.types.Object) -> None:
    """The inputs of an object's live modifier, and the button to bake it."""
    column = layout.column(align=True)
    for name in live.inputs(thing):
        column.prop(*live.held(thing, name), text=name)
    layout.operator("leadline.bake", icon="MESH_DATA")


CLASSES = (LEADLINE_OT_bake,)
