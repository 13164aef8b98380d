# SPDX-License-Identifier: GPL-3.0-or-later
"""The first sight of a new object: in a free place, framed, with the photograph on it."""

from __future__ import annotations

import math

import bpy
from mathutils import Euler, Vector

from .host import present
from .properties import memory_of

#: How far the view is turned from the camera's, degrees: enough to see that it is no flat picture.
_LOOK_FROM = (-6.0, 14.0)
_ROOM = 1.15


def make_room(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """Move a new object, and the camera at its origin, beside what is there already (Blender's cube, another scene)."""
    present(context.view_layer).update()
    own = {thing, *thing.children_recursive}
    low, high = _bounds([thing], origin=True)
    others = [o for o in context.visible_objects if o.type == "MESH" and o not in own and not o.hide_render]
    in_the_way = [box for box in (_bounds([o]) for o in others) if _overlap(box, (low, high))]
    if in_the_way:
        right = max(box[1].x for box in (_bounds([o]) for o in others))
        thing.location.x += right - low.x + 0.1 * (high.x - low.x)


def show(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """Turn every 3D viewport of the screen to the object; show the photograph where only grey would be seen."""
    if context.window is None or context.screen is None:
        return
    present(context.view_layer).update()
    for area in context.screen.areas:
        space = area.spaces.active
        if not isinstance(space, bpy.types.SpaceView3D):
            continue
        shading = space.shading
        if shading.type == "SOLID" and shading.color_type == "MATERIAL":
            shading.color_type = "TEXTURE"
            shading.show_object_outline = False  # every gap would have a black border
            shading.light = "FLAT" if memory_of(thing).result in ("PERSPECTIVE", "PANORAMA") else "STUDIO"
        if memory_of(thing).result == "PANORAMA":
            _stand_inside(space, thing)
        else:
            _frame(space, area, thing)


def _frame(space: bpy.types.SpaceView3D, area: bpy.types.Area, thing: bpy.types.Object) -> None:
    low, high = _bounds([thing])
    centre, radius = (low + high) / 2, (high - low).length / 2
    view = present(space.region_3d)
    view.view_perspective = "PERSP"
    turn = Euler((math.radians(_LOOK_FROM[0]), math.radians(_LOOK_FROM[1]), 0)).to_matrix()
    view.view_rotation = (thing.matrix_world.to_3x3().normalized() @ turn).to_quaternion()
    view.view_location = centre
    # Blender's viewport lens is for a sensor of 72 mm along the longer side.
    half_angle = math.atan(36.0 / space.lens * min(area.width, area.height) / max(area.width, area.height))
    view.view_distance = _ROOM * radius / math.sin(half_angle) * 0.75
    space.clip_end = max(space.clip_end, 4 * (view.view_distance + radius))


def _stand_inside(space: bpy.types.SpaceView3D, thing: bpy.types.Object) -> None:
    """Look through the wide camera where a panorama was taken, whatever camera the scene has."""
    space.use_local_camera, space.camera = True, memory_of(thing).camera
    present(space.region_3d).view_perspective = "CAMERA"


def _bounds(things: list[bpy.types.Object], origin: bool = False) -> tuple[Vector, Vector]:
    corners = [o.matrix_world @ Vector(corner) for o in things for corner in o.bound_box]
    corners += [o.matrix_world.translation for o in things] if origin else []
    return Vector([min(c[axis] for c in corners) for axis in range(3)]), Vector(
        [max(c[axis] for c in corners) for axis in range(3)]
    )


def _overlap(one: tuple[Vector, Vector], other: tuple[Vector, Vector]) -> bool:
    return all(one[0][axis] < other[1][axis] and other[0][axis] < one[1][axis] for axis in range(3))
