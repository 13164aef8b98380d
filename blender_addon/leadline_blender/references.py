# SPDX-License-Identifier: GPL-3.0-or-later
"""Metres for the scene: points whose distance from the camera, or whose distance from each other, was measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import bpy
import numpy as np
from bpy.props import FloatProperty, FloatVectorProperty
from mathutils import Vector

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.geometry import scale_from_length, scale_to_points

from . import photos, results
from .depth import Depth
from .generate import ask_for_depth
from .host import Outcome, present
from .picking import PickOperator
from .properties import Snapshot, memory_of
from .scene_task import SceneTask, scene_object
from .shaping import Shape
from .task import Report, Task

#: From this many points on, depth is fitted to them by the server rather than only scaled.
ENOUGH_TO_RESHAPE = 8


class LEADLINE_OT_add_reference(bpy.types.Operator):
    """Mark the point at the 3D cursor, on the scene's surface, as one whose distance from the camera you measured"""

    bl_idname = "leadline.add_reference"
    bl_label = "Add Reference Point"
    bl_options = {"REGISTER", "UNDO"}

    distance_m: FloatProperty(  # type: ignore[valid-type]
        name="Distance",
        description="From the camera to this point, as the tape measures it",
        default=2.0,
        min=1e-3,
        unit="LENGTH",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_object(context) is not None

    def execute(self, context: bpy.types.Context) -> Outcome:
        thing = present(scene_object(context))
        point = bpy.data.objects.new("Reference", None)
        point.empty_display_type, point.empty_display_size = "SPHERE", 0.05
        memory_of(point).reference_m = self.distance_m
        present(context.collection).objects.link(point)
        point.parent = thing
        point.matrix_parent_inverse = thing.matrix_world.inverted()
        point.location = present(context.scene).cursor.location
        return {"FINISHED"}


class LEADLINE_OT_measure_length(PickOperator, bpy.types.Operator):
    """Click on the two ends of something whose length you know"""

    bl_idname = "leadline.measure_length"
    bl_label = "Click on Both Ends"
    bl_options = {"REGISTER", "UNDO"}

    wanted = ("the one end", "the other end")

    length_m: FloatProperty(  # type: ignore[valid-type]
        name="Length", description="As the tape measures it", default=1.0, min=1e-3, unit="LENGTH"
    )
    first: FloatVectorProperty(name="From", subtype="XYZ", unit="LENGTH")  # type: ignore[valid-type]
    second: FloatVectorProperty(name="To", subtype="XYZ", unit="LENGTH")  # type: ignore[valid-type]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_object(context) is not None

    def take(self, points: list[Vector]) -> None:
        self.first, self.second = points

    def execute(self, context: bpy.types.Context) -> Outcome:
        thing = present(scene_object(context))
        ends = []
        for name, place in (("Length", self.first), ("Length end", self.second)):
            end = bpy.data.objects.new(name, None)
            end.empty_display_type, end.empty_display_size = "SPHERE", 0.05
            present(context.collection).objects.link(end)
            end.parent = thing
            end.location = thing.matrix_world.inverted() @ Vector(place)
            ends.append(end)
        memory_of(ends[0]).length_to, memory_of(ends[0]).length_m = ends[1], self.length_m
        present(context.view_layer).update()
        return {"FINISHED"}


class LEADLINE_OT_scale_to_references(SceneTask, bpy.types.Operator):
    """Bring the active scene to metres by its reference points. A few points scale it as it is; from eight on, the depth is computed again to fit them"""

    bl_idname = "leadline.scale_to_references"
    bl_label = "Scale to Metres"
    bl_options = {"UNDO"}

    def start(self, context: bpy.types.Context, thing: bpy.types.Object) -> Task:
        options = Snapshot(memory_of(thing))
        photo = photos.photo_from_image(memory_of(thing).photo)
        # The server reads whole files at their own size, arrays at the size they are sent.
        size = photos.upright_working_size(photo.data_block()) if photo.sent is None else None
        sparse_m = sparse_from_references(context, thing, size)
        measured: Callable[[Report], Depth]
        if np.count_nonzero(sparse_m) >= ENOUGH_TO_RESHAPE:
            measured = ask_for_depth(context, photo, sparse_m)
        else:
            metres = photos.read_map(memory_of(thing).depth, memory_of(thing).orientation)
            measured = partial(_scaled, metres, sparse_m, memory_of(thing).model)

        def work(report: Report) -> tuple[Depth, Shape]:
            depth = measured(report)
            if not depth.metric:
                raise InputError("the server could not find a scale from these points; check their distances")
            return depth, self.reshape(report, depth, options)

        return Task(work, photo.name)

    def done(self, context: bpy.types.Context, thing: bpy.types.Object, task: Task) -> str:
        depth, made = task.result
        results.realise(context, memory_of(thing).photo, depth, made, memory_of(thing), thing)
        low, high = np.percentile(depth.values, [1, 99])
        return f"{thing.name} is in metres: {low:.2f} m to {high:.2f} m"


def _scaled(metres: np.ndarray, sparse_m: np.ndarray, model: str, report: Report) -> Depth:
    """A map of metres as it is, but for its scale."""
    scale = scale_to_points(metres, sparse_m)
    return Depth((metres * scale).astype(np.float32), Space.DEPTH, True, model)


def sparse_from_references(
    context: bpy.types.Context, thing: bpy.types.Object, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Sparse depth (H, W), metres along the axis, 0 where nothing is known: one pixel for each reference point.

    ``size`` is that of the map, by default the photograph's.

    Distances are measured in a straight line from the camera. A known length between two points scales what the
    scene has now; it gives two pixels.
    """
    memory = memory_of(thing)
    height, width = size or photos.upright_size(memory.photo, memory.orientation)
    camera = results.camera_for(thing, (height, width))
    sparse_m = np.zeros((height, width), np.float32)
    to_camera = thing.matrix_world.inverted()
    units_m = present(context.scene).unit_settings.scale_length

    def seen(point: bpy.types.Object) -> tuple[int, int, np.ndarray]:
        local = np.array(to_camera @ point.matrix_world.translation, np.float64) * units_m
        x_px, y_px, depth = camera.project(local)
        if not depth > 0 or not (0 <= x_px < width and 0 <= y_px < height):
            raise InputError(f"{point.name} lies outside the photograph; move it onto the surface")
        return int(y_px), int(x_px), local

    for point in present(context.scene).objects:
        mark = memory_of(point)
        if mark.reference_m > 0:
            row, column, local = seen(point)
            sparse_m[row, column] = mark.reference_m * -local[2] / np.linalg.norm(local)
        if mark.length_to is not None and mark.length_m > 0:
            first, second = seen(point), seen(mark.length_to)
            try:
                scale = scale_from_length(first[2], second[2], mark.length_m)
            except ValueError as error:
                raise InputError(f"{point.name} and {mark.length_to.name}: {error}") from error
            for row, column, local in (first, second):
                sparse_m[row, column] = -local[2] * scale
    if not sparse_m.any():
        raise InputError("there are no reference points; add one with the 3D cursor on the surface")
    return sparse_m


CLASSES = (LEADLINE_OT_add_reference, LEADLINE_OT_measure_length, LEADLINE_OT_scale_to_references)
