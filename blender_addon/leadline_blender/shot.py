# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph becomes a shot: a camera that starts in the matched one and moves a little."""

from __future__ import annotations

import math
from collections.abc import Callable

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty
from mathutils import Vector

from . import photos
from .host import Outcome, camera_of, present
from .properties import memory_of

#: Keyframes along a move.
_KEYS = 9
#: How far a move of strength 1 goes, as a share of the distance of what is near.
_NEAR_SHARE = 0.18

#: Part of the move, 0 to 1 → offset in units of its size: x right, y up, z towards the viewer.
MOVES: dict[str, Callable[[float], tuple[float, float, float]]] = {
    "DOLLY": lambda t: (0.0, 0.0, -2.0 * t),
    "SLIDE": lambda t: (2.0 * t - 1.0, 0.0, 0.0),
    "ORBIT": lambda t: (math.sin(2 * math.pi * t), 0.4 * math.cos(2 * math.pi * t) - 0.4, 0.0),
}


class LEADLINE_OT_camera_move(bpy.types.Operator):
    """Animate a new camera that starts from the photograph's; best with Fill Behind"""

    bl_idname = "leadline.camera_move"
    bl_label = "Add Camera Move"
    bl_options = {"REGISTER", "UNDO"}

    move: EnumProperty(  # type: ignore[valid-type]
        name="Move",
        items=[
            ("DOLLY", "Dolly", "Straight into the picture"),
            ("SLIDE", "Slide", "From left to right, looking at the same point"),
            ("ORBIT", "Orbit", "Round in a small ellipse, looking at the same point"),
        ],
    )
    strength: FloatProperty(  # type: ignore[valid-type]
        name="Strength",
        description="How far it goes; more shows more of what had to be made up",
        default=1.0,
        min=0.0,
        soft_max=3.0,
    )
    frames: IntProperty(name="Frames", default=96, min=2, soft_max=500)  # type: ignore[valid-type]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        if thing is None or memory_of(thing).camera is None or memory_of(thing).depth is None:
            cls.poll_message_set("Select a Scene that Leadline made")
            return False
        return context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> Outcome:
        add_move(context, present(context.active_object), self.move, self.strength, self.frames)
        return {"FINISHED"}


class LEADLINE_OT_stereo_pair(bpy.types.Operator):
    """Render the scene's camera for both eyes, side by side, with what is in the middle at the screen's distance"""

    bl_idname = "leadline.stereo_pair"
    bl_label = "Render for Both Eyes"
    bl_options = {"REGISTER", "UNDO"}

    eyes_m: FloatProperty(  # type: ignore[valid-type]
        name="Eye Distance", description="Between the two eyes", default=0.065, min=1e-3, soft_max=0.3, unit="LENGTH"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing, scene = context.active_object, present(context.scene)
        return thing is not None and memory_of(thing).depth is not None and scene.camera is not None

    def execute(self, context: bpy.types.Context) -> Outcome:
        scene, memory = present(context.scene), memory_of(present(context.active_object))
        units = 1.0 / scene.unit_settings.scale_length
        render = scene.render
        render.use_multiview, render.views_format = True, "STEREO_3D"
        render.image_settings.views_format = "STEREO_3D"
        present(render.image_settings.stereo_3d_format).display_mode = "SIDEBYSIDE"
        eyes = present(camera_of(present(scene.camera)).stereo)
        eyes.convergence_mode, eyes.pivot = "OFFAXIS", "CENTER"
        eyes.interocular_distance = self.eyes_m * units
        eyes.convergence_distance = float(np.median(photos.read_map(memory.depth))) * units
        return {"FINISHED"}


def add_move(
    context: bpy.types.Context, thing: bpy.types.Object, move: str, strength: float, frames: int
) -> bpy.types.Object:
    """The camera, which becomes the scene's; the scene's frame range becomes the move's."""
    matched = memory_of(thing).camera
    units = 1.0 / present(context.scene).unit_settings.scale_length
    near, middle = np.percentile(photos.read_map(memory_of(thing).depth), [5, 50]) * units
    camera = matched.copy()
    camera.data = matched.data.copy()
    camera.animation_data_clear()
    camera.name = camera.data.name = f"{thing.name} shot"
    for collection in thing.users_collection:
        collection.objects.link(camera)
    start, size = matched.location.copy(), float(near) * _NEAR_SHARE * strength
    focus = start + Vector((0.0, 0.0, -float(middle)))
    camera.rotation_mode = "QUATERNION"
    first = present(context.scene).frame_start
    for key in range(_KEYS):
        part = key / (_KEYS - 1)
        camera.location = start + size * Vector(MOVES[move](part))
        if move != "DOLLY":
            # The smallest turn from straight ahead: the horizon stays level.
            camera.rotation_quaternion = Vector((0.0, 0.0, -1.0)).rotation_difference(focus - camera.location)
        frame = first + round(part * (frames - 1))
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
    present(context.scene).frame_end = first + frames - 1
    present(context.scene).camera = camera
    return camera


CLASSES = (LEADLINE_OT_camera_move, LEADLINE_OT_stereo_pair)
