# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth with a brush: Blender's own texture paint on an image that lies over the photograph."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import EnumProperty

from . import materials, photos, results, runtime
from .host import Outcome, mesh_of, present
from .properties import Snapshot, memory_of
from .scene_task import ObjectTask
from .task import Task

#: Long edge of the painted image, pixels: a brush is no finer.
_EDGE = 1024
#: Name, what it does, the colour that says so (sRGB), as leadline.geometry.read_paint wants it.
BRUSHES = [
    ("NEARER", "Nearer", "White: what you paint comes towards the viewer", (1.0, 1.0, 1.0)),
    ("FARTHER", "Farther", "Black: what you paint goes away from the viewer", (0.0, 0.0, 0.0)),
    ("REMOVE", "Remove", "Blue: what you paint gets no surface, as the sky", (0.0, 0.25, 1.0)),
    ("ERASE", "Erase", "Take back what was painted", None),
]


class LEADLINE_OT_paint(bpy.types.Operator):
    """Paint over the photograph to change its depth; nothing changes before Apply Paint"""

    bl_idname = "leadline.paint"
    bl_label = "Paint Depth"
    bl_options = {"REGISTER", "UNDO"}

    brush: EnumProperty(name="Brush", items=[entry[:3] for entry in BRUSHES])  # type: ignore[valid-type]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        if thing is None or memory_of(thing).depth is None or context.mode not in ("OBJECT", "PAINT_TEXTURE"):
            cls.poll_message_set("Select an object that Leadline made")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Outcome:
        thing = present(context.active_object)
        image = _painted_image(thing)
        for material in mesh_of(thing).materials:
            if material is not None and materials.is_ours(material):
                materials.lay_over(material, image)
        tools: Any = present(context.scene).tool_settings
        tools.image_paint.mode, tools.image_paint.canvas = "IMAGE", image
        if context.mode == "OBJECT":
            bpy.ops.object.mode_set(mode="TEXTURE_PAINT")
        _take_brush(tools, next(colour for name, *_, colour in BRUSHES if name == self.brush))
        for area in context.screen.areas if context.screen else ():
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceView3D) and space.shading.type == "SOLID":
                space.shading.type = "MATERIAL"  # solid shading shows either photograph or paint
        return {"FINISHED"}


class _PaintTask(ObjectTask):
    """Leaves the brush and builds the object again."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        return not runtime.busy() and thing is not None and memory_of(thing).paint is not None

    def settle(self, thing: bpy.types.Object) -> None:
        """What happens to the painted image."""
        raise NotImplementedError

    def begin(self, context: bpy.types.Context) -> Task:
        thing = present(context.active_object)
        self.choose(thing)
        _leave_brush(context, thing)
        self.settle(thing)
        self._options = Snapshot(memory_of(thing))
        return self.rebuilding(context, self._options)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return self.rebuilt(context, task, self._options)


class LEADLINE_OT_apply_paint(_PaintTask, bpy.types.Operator):
    """Leave the brush and build the object again with what was painted. The depth image stays as it was; paint on at any time"""

    bl_idname = "leadline.apply_paint"
    bl_label = "Apply Paint"
    bl_options = {"REGISTER", "UNDO"}

    def settle(self, thing: bpy.types.Object) -> None:
        memory_of(thing).paint.pack()


class LEADLINE_OT_clear_paint(_PaintTask, bpy.types.Operator):
    """Forget what was painted and build the object as it was"""

    bl_idname = "leadline.clear_paint"
    bl_label = "Clear Paint"
    bl_options = {"REGISTER", "UNDO"}

    def settle(self, thing: bpy.types.Object) -> None:
        image = results.own(thing, "paint")
        memory_of(thing).paint = None
        if image is not None:
            bpy.data.images.remove(image)


def _painted_image(thing: bpy.types.Object) -> bpy.types.Image:
    """The image to paint on, lying as the photograph's file does; transparent if it is new, a copy if another object has it."""
    memory = memory_of(thing)
    if memory.paint is not None:
        if results.own(thing, "paint") is None:
            memory.paint = memory.paint.copy()
        return memory.paint
    height, width = photos.upright_size(memory.photo, 1)
    shrink = min(_EDGE / max(height, width), 1.0)
    size = max(round(width * shrink), 1), max(round(height * shrink), 1)
    image = bpy.data.images.new(f"{memory.photo.name} paint", *size, alpha=True)
    image.generated_color = (0.0, 0.0, 0.0, 0.0)
    memory.paint = image
    return image


def _take_brush(tools: Any, colour: tuple[float, float, float] | None) -> None:
    """Give the brush its colour; the artist's size, strength and curve stay."""
    brush = tools.image_paint.brush
    if brush is not None:
        brush.blend = "ERASE_ALPHA" if colour is None else "MIX"
    if colour is None:
        return
    # Since Blender 5 every kind of paint has unified settings of its own.
    unified = getattr(tools.image_paint, "unified_paint_settings", None) or tools.unified_paint_settings
    unified.color = colour
    if brush is not None:
        brush.color = colour


def _leave_brush(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    if context.mode == "PAINT_TEXTURE":
        bpy.ops.object.mode_set(mode="OBJECT")
    for material in mesh_of(thing).materials:
        if material is not None and materials.is_ours(material):
            materials.take_off(material)
    results.dress(thing, memory_of(thing).photo, memory_of(thing))


CLASSES = (LEADLINE_OT_paint, LEADLINE_OT_apply_paint, LEADLINE_OT_clear_paint)
