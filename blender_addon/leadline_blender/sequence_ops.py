# SPDX-License-Identifier: GPL-3.0-or-later
"""A film becomes an animated displacement, or a scene whose surface is another in each frame."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path

import bpy
import numpy as np

from leadline.errors import InputError
from leadline.geometry import grid_mesh, orientation_from_photo, perspective_mesh

from . import decode, film, live, live_film, materials, photos, results, runtime
from .chosen import server_settings
from .depth import Depth
from .generate import answered, ask_for_depth, connected
from .host import blender_command, mesh_of, present
from .link import ServerSettings
from .properties import Snapshot, copy_options, memory_of, settings_of
from .running import TaskOperator
from .task import Report, Task


class LEADLINE_OT_sequence(TaskOperator, bpy.types.Operator):
    """Turn an image sequence or a movie into an animated relief or scene. Stopping keeps what is done; starting again goes on from there"""

    bl_idname = "leadline.sequence"
    bl_label = "Generate Film"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy() and context.mode == "OBJECT"

    def begin(self, context: bpy.types.Context) -> Task:
        settings = settings_of(context)
        if not settings.sequence_path:
            raise InputError("choose a movie, or the first image of a sequence, in the Leadline panel first")
        path = Path(bpy.path.abspath(settings.sequence_path))
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        chosen = settings.sequence_folder
        self._path = path
        self._folder = Path(bpy.path.abspath(chosen)) if chosen else path.with_name(f"{path.stem} depth")
        self._options = Snapshot(settings)
        self._options.result, self._options.use_live = settings.sequence_result, False
        files = [path] if film.is_movie(path) else film.image_sequence(path)
        count = _frames_of_movie(path) if film.is_movie(path) else len(files)
        count = min(count, settings.sequence_frames or count)
        orientation = 1 if film.is_movie(path) else orientation_from_photo(path)
        source: film.Source
        if path.suffix.lower() in film.ENCODED_SUFFIXES:
            source = partial(film.files_as_they_are, files)
        else:
            source = partial(film.decoded, blender_command(), files, count, orientation)
        steps, ensemble, size = 0, 0, 0
        if settings.quality == "CUSTOM":
            steps, ensemble, size = settings.steps, settings.ensemble, settings.size
        connection = server_settings(context)
        job = film.Job(str(path), settings.model.strip(), settings.quality, steps, ensemble, size, settings.seed)
        ask, folder = ask_for_depth(context, None, plain=True), self._folder

        def work(report: Report) -> film.Measured:
            steady = _holder(report, connection)
            name = uuid.uuid4().hex if steady == film.SERVER else None

            def infer(report: Report, image: object) -> Depth:
                # The film's own progress counts frames; what the model does within one is too short to show.
                return ask(_Quiet(report), image, name)

            python = partial(runtime.link.python, connection)
            held = replace(job, steady=steady)
            return film.measure_film(report, held, count, source, folder, infer, orientation, python)

        return Task(work, path.name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        thing = film_object(context, self._path, self._folder, task.result, self._options)
        told = "" if task.result.steady else "; on one scale only: this server holds no films still"
        return f"{thing.name}: {task.result.frames} frames{told}"


def _holder(report: Report, connection: ServerSettings) -> str:
    """Who holds a film still: a local server's Python, or another server that can."""
    if not connection.remote:
        return film.HERE
    with answered(None, connection):
        return film.SERVER if "steady_megapixels" in connected(report, connection).hello().limits else ""


def _frames_of_movie(path: Path) -> int:
    try:
        scene, frames = decode.movie_scene(str(path))
    except RuntimeError as error:
        raise InputError(str(error)) from error
    bpy.data.scenes.remove(scene)
    return frames


class _Quiet(Report):
    """A report that says nothing but still stops."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.stop = report.stop

    def progress(self, stage: str, fraction: float) -> None:
        """Nothing."""


def film_object(
    context: bpy.types.Context, path: Path, folder: Path, measured: film.Measured, options: Snapshot
) -> bpy.types.Object:
    """An object that plays the film, shape and picture. Updated in place if the film has one already."""
    frames, scene = measured.frames, present(context.scene)
    photo = bpy.data.images.load(str(path), check_existing=True)
    if not film.is_movie(path) and frames > 1:
        photo.source = "SEQUENCE"
    nearness = bpy.data.images.load(str(film.depth_file(folder, 0)), check_existing=True)
    orientation = photos.orientation_of(photo)
    height, width = photos.upright_size(
        nearness, orientation
    )  # before it is a sequence, whose size is known only once it has been drawn
    nearness.source = "SEQUENCE" if frames > 1 else "FILE"
    present(nearness.colorspace_settings).name = "Non-Color"  # type: ignore[assignment]
    units = 1.0 / scene.unit_settings.scale_length
    camera = photos.camera_of(photo, (height, width), options)
    if options.result == "PERSPECTIVE":
        wall = np.ones((height, width), np.float32)
        # A wall one unit away, whatever the units are: its vertices are what depth is multiplied with.
        shape, scale = perspective_mesh(wall, camera, cut=1.0, long_edge=options.long_edge, edges=True), 1.0
    else:
        shape, scale = grid_mesh(height, width, options.width_m, options.long_edge, edges=True), units
    thing = results.place(context, results.find_object(context, photo), shape, photo.name, scale, orientation)
    memory = memory_of(thing)
    copy_options(options, memory)
    memory.photo, memory.orientation, memory.focal_px = photo, orientation, camera.focal_px
    results.dress(thing, photo, options)
    if options.result == "PERSPECTIVE":
        results.lower(thing)
        range_units = options.near_m * units, options.far_m * units
        steepest = options.steepest if options.use_cut else math.pi / 2
        live_film.attach(thing, nearness, measured.space, scene.frame_start, frames, range_units, steepest)
        results.match_camera(context, thing, camera, np.array([options.near_m, options.far_m]), options)
    else:
        live.detach(thing)
        texture = results.set_displacement(thing, nearness, options.height_m * units)
        user = present(texture.image_user)
        user.frame_duration, user.frame_start, user.frame_offset = frames, scene.frame_start, 0
        user.use_auto_refresh = True
    material = mesh_of(thing).materials[0]
    if material is not None and materials.is_ours(material):
        first = 0 if film.is_movie(path) else _first_number(path) - 1
        materials.play_sequence(material, frames, scene.frame_start, first)
    return thing


def _first_number(path: Path) -> int:
    digits = path.stem[len(path.stem.rstrip("0123456789")) :]
    return int(digits)


CLASSES = (LEADLINE_OT_sequence,)
