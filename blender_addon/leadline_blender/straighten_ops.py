# SPDX-License-Identifier: GPL-3.0-or-later
"""Floors that are flat and walls at right angles: the artist points at them, and the depth range follows."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatVectorProperty
from mathutils import Vector

from leadline.errors import InputError
from leadline.geometry import Flat, Pinhole, Straightened, flat_around, straighten

from . import photos, results
from .depth import Depth, at_most
from .host import Outcome, item, present
from .picking import PickOperator
from .properties import Snapshot, memory_of, settings_of
from .scene_task import SceneTask, scene_object
from .shaping import Shape
from .task import Report, Task

#: Long edge of the maps that are enough to find the angle of a wall.
_WORKING_EDGE = 512

SURFACES = [
    ("FLOOR", "Floor", "A floor, a ceiling, a table: level surfaces"),
    ("WALL", "Wall", "A wall; all surfaces marked like this are parallel"),
    ("SIDE", "Side Wall", "A wall at right angles to those marked as Wall"),
]


class LEADLINE_OT_mark_surface(PickOperator, bpy.types.Operator):
    """Click on a surface of the scene that is flat: floors and walls tell how deep the scene is"""

    bl_idname = "leadline.mark_surface"
    bl_label = "Mark Surface"
    bl_options = {"REGISTER", "UNDO"}

    wanted = ("the surface",)

    surface: EnumProperty(name="Surface", items=SURFACES)  # type: ignore[valid-type]
    point: FloatVectorProperty(name="Point", description="On the surface", subtype="XYZ", unit="LENGTH")  # type: ignore[valid-type]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_object(context) is not None

    def take(self, points: list[Vector]) -> None:
        self.point = points[0]

    def execute(self, context: bpy.types.Context) -> Outcome:
        thing = present(scene_object(context))
        mark = bpy.data.objects.new(self.surface.capitalize(), None)
        mark.empty_display_type, mark.empty_display_size = "SPHERE", 0.05
        memory_of(mark).surface = self.surface
        present(context.collection).objects.link(mark)
        mark.parent = thing
        mark.location = thing.matrix_world.inverted() @ Vector(self.point)
        return {"FINISHED"}


class LEADLINE_OT_straighten(SceneTask, bpy.types.Operator):
    """Choose the farthest distance so that the marked floors and walls are flat and at right angles, and put the floor level"""

    bl_idname = "leadline.straighten"
    bl_label = "Straighten"
    bl_options = {"UNDO"}

    def start(self, context: bpy.types.Context, thing: bpy.types.Object) -> Task:
        memory = memory_of(thing)
        if memory.metric:
            raise InputError("this scene is in measured metres already; generate it again to straighten it")
        marks = [child for child in thing.children if memory_of(child).surface]
        if len(marks) < 2:
            raise InputError("mark two surfaces at least, such as a floor and a wall")
        kinds = [kind for kind, *_ in SURFACES]
        self._axes = [kinds.index(memory_of(mark).surface) for mark in marks]
        self._marks = [mark.name for mark in marks]
        depth, options = results.stored_depth(thing), Snapshot(memory)
        values = at_most(depth.values, _WORKING_EDGE)
        camera = results.camera_for(thing, values.shape)
        metres = at_most(photos.read_map(memory.depth, memory.orientation), _WORKING_EDGE)
        units_m = present(context.scene).unit_settings.scale_length
        pixels = [_pixel(camera, mark, units_m) for mark in marks]
        names, axes = list(self._marks), self._axes

        def work(report: Report) -> tuple[Straightened, Depth, Snapshot, Shape]:
            report.progress("looking at the surfaces", 0.0)
            flats = []
            for name, axis, (row, column) in zip(names, axes, pixels, strict=True):
                report.check()
                try:
                    flats.append(Flat(flat_around(metres, camera, row, column), axis))
                except ValueError as error:
                    raise InputError(f"{name}: {error}") from error
            found = straighten(values, depth.space, camera, flats)
            options.far_m = options.near_m * found.ratio
            return found, depth, options, self.reshape(report, depth, options)

        return Task(work, thing.name)

    def done(self, context: bpy.types.Context, thing: bpy.types.Object, task: Task) -> str:
        found, depth, options, made = task.result
        settings_of(context).near_m, settings_of(context).far_m = options.near_m, options.far_m
        results.realise(context, memory_of(thing).photo, depth, made, options, thing)
        self._seat(context, thing)
        if 0 in self._axes:
            _level(thing, Vector(found.normals[self._axes.index(0)]))
        return f"Nearest {options.near_m:.2f} m, farthest {options.far_m:.2f} m; angles within {found.off_degrees:.1f}°"

    def _seat(self, context: bpy.types.Context, thing: bpy.types.Object) -> None:
        """Put the marks onto the surface that has moved under them."""
        metres = photos.read_map(memory_of(thing).depth, memory_of(thing).orientation)
        camera = results.camera_for(thing, metres.shape)
        units_m = present(context.scene).unit_settings.scale_length
        for name in self._marks:
            mark = item(bpy.data.objects, name)
            if mark is not None:
                row, column = _pixel(camera, mark, units_m)
                mark.location *= metres[row, column] / units_m / -mark.location.z


def _pixel(camera: Pinhole, mark: bpy.types.Object, units_m: float) -> tuple[int, int]:
    """Row and column where a child of a scene is seen from its camera."""
    x_px, y_px, depth = camera.project(np.array(mark.location, np.float64) * units_m)
    if not depth > 0 or not (0 <= x_px < camera.width and 0 <= y_px < camera.height):
        raise InputError(f"{mark.name} lies outside the photograph; move it onto the surface")
    return int(y_px), int(x_px)


def _level(thing: bpy.types.Object, floor: Vector) -> None:
    """Turn an object about itself until a floor with that normal, in the camera's axes, is level."""
    if floor.y < 0:  # a ceiling
        floor = -floor
    turned = thing.matrix_world.to_quaternion()
    levelled = (turned @ floor).rotation_difference(Vector((0.0, 0.0, 1.0))) @ turned
    if thing.rotation_mode == "QUATERNION":
        thing.rotation_quaternion = levelled
    else:
        thing.rotation_euler = levelled.to_euler("XYZ")


CLASSES = (LEADLINE_OT_mark_surface, LEADLINE_OT_straighten)
