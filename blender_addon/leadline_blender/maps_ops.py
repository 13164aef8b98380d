# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth, normals and occlusion as files: passes for compositing, pictures for image generators."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import numpy as np

from leadline.depth.nearness import nearness
from leadline.errors import InputError
from leadline.files.png import encode_png
from leadline.files.whole import write_bytes
from leadline.geometry import Pinhole, ambient_occlusion, normal_map

from . import photos, results, runtime
from .exr import write_exr
from .host import present
from .properties import memory_of, settings_of
from .running import TaskOperator
from .task import Report, Task


class LEADLINE_OT_export_maps(TaskOperator, bpy.types.Operator):
    """Write depth and normals as EXR, and depth, normals and occlusion as PNG pictures, upright as people see the photograph"""

    bl_idname = "leadline.export_maps"
    bl_label = "Export Maps"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        if thing is None or memory_of(thing).depth is None or memory_of(thing).result == "PANORAMA":
            cls.poll_message_set("Select an object that Leadline made, but no panorama")
            return False
        return not runtime.busy()

    def begin(self, context: bpy.types.Context) -> Task:
        thing = present(context.active_object)
        memory = memory_of(thing)
        folder = settings_of(context).maps_folder
        if not folder and not memory.photo.filepath:
            raise InputError("choose a folder for the maps first: the photograph has none")
        where = Path(bpy.path.abspath(folder or os.path.dirname(memory.photo.filepath)))
        depth = photos.read_map(memory.depth, memory.orientation)
        camera = results.camera_for(thing, depth.shape)
        stem, radius_m = Path(memory.photo.name).stem, settings_of(context).occlusion_m
        return Task(lambda report: write_maps(report, where, stem, depth, camera, radius_m), memory.photo.name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return f"{len(task.result)} files in {task.result[0].parent}"


def write_maps(
    report: Report, folder: Path, stem: str, depth: np.ndarray, camera: Pinhole, radius_m: float
) -> list[Path]:
    """The files that were written. Depth in metres; pictures of depth are white where it is near, of normals OpenGL's way."""
    report.progress("finding normals", 0.1)
    normals = normal_map(depth, camera)
    report.check()
    report.progress("finding what lies open", 0.3)
    occlusion = ambient_occlusion(depth, camera, radius_m)
    report.check()
    report.progress("writing", 0.8)
    pictures = {
        "depth": nearness(1 / depth, True, 0.5, 99.5),
        "normal": 0.5 + 0.5 * normals,
        "occlusion": occlusion,
    }
    written = []
    for name, values in (("depth", depth), ("normal", normals)):
        written.append(folder / f"{stem} {name}.exr")
        write_exr(written[-1], values)
    for name, picture in pictures.items():
        written.append(folder / f"{stem} {name}.png")
        write_bytes(written[-1], encode_png((picture * 255 + 0.5).clip(0, 255).astype(np.uint8)))
    return written


CLASSES = (LEADLINE_OT_export_maps,)
