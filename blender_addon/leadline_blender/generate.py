# SPDX-License-Identifier: GPL-3.0-or-later
"""The one button: photograph → server → object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import bpy
import numpy as np
from bpy.props import StringProperty

from leadline.depth.spaces import Space
from leadline.errors import InputError, LeadlineError
from leadline.serving.client.client import Client, Progress, Refused, ServerUnreachable

from . import effort, photos, results, runtime, sight
from .chosen import server_settings
from .depth import Depth, at_most
from .host import Outcome, item, mesh_of, present
from .link import ServerSettings
from .panorama import depth_all_round
from .properties import Snapshot, settings_of
from .running import TaskOperator
from .shaping import Shape, shape
from .task import Report, Task

#: The server's stages in words for somebody who wants a picture.
STAGES = {
    "load": "loading the model",
    "decode": "finishing the depth",
    "encode": "reading the photograph",
    "solve": "looking at the photograph",
    "predict": "looking at the photograph",
    "complete": "fitting the measured points",
}

#: The panel's edges as the server knows them.
DETAILS: dict[str, Literal["off", "edges", "tiles"]] = {"OFF": "off", "EDGES": "edges", "TILES": "tiles"}


def ask_for_depth(
    context: bpy.types.Context, photo: photos.Photo | None, sparse_m: np.ndarray | None = None, *, plain: bool = False
) -> Callable[..., Depth]:
    """The work of one prediction, with everything it needs taken from Blender beforehand.

    ``plain``: edges stay as the model draws them, whatever the panel says.

    It is called with a Report and, if there is no ``photo``, an image: uint8 (H, W, 3) or encoded bytes. ``film`` is the
    name of a film whose frames the server is to hold still.
    """
    settings = settings_of(context)
    connection, model, seed = server_settings(context), settings.model.strip(), settings.seed
    quality, custom = settings.quality, settings.custom_effort()
    detail = "off" if plain else DETAILS[settings.detail]
    working_edge = max(photos.WORKING_EDGE, custom.size or 0, settings.long_edge)

    def asked(client: Client) -> effort.Effort:
        return custom if quality == "CUSTOM" else effort.for_quality(quality, effort.find(client.hello(), model))

    def work(
        report: Report,
        image: np.ndarray | bytes | None = None,
        film: str | None = None,
    ) -> Depth:
        if image is None:
            image = present(photo).content(report)
        client = connected(report, connection)
        with answered(photo, connection):
            wanted = asked(client)
            prediction = client.predict(
                image,
                model=model or None,
                steps=wanted.steps,
                ensemble=wanted.ensemble,
                size=wanted.size,
                seed=seed,
                sparse=sparse_m,
                detail=detail,
                steady=film,
                validity=False,
                on_progress=told(report),
                cancel=report.stop,
            )
        return Depth(
            at_most(prediction.values, working_edge),
            Space(prediction.space),
            prediction.metric,
            prediction.model,
            None if prediction.uncertainty is None else at_most(prediction.uncertainty, working_edge),
            str(prediction.meta.get("device", "")),
        )

    return work


def connected(report: Report, connection: ServerSettings) -> Client:
    """A connection to the server, which is started if need be."""
    running = connection.remote or runtime.link.server_running
    report.progress("connecting" if running else "starting the server", 0.0)
    client = runtime.link.client(connection)
    report.check()
    return client


def told(report: Report) -> Callable[[Progress], None]:
    """What hears the server's progress and tells it in the artist's words."""

    def heard(progress: Progress) -> None:
        if progress.position:
            report.progress(f"waiting, {progress.position} before it", 0.0)
        else:
            report.progress(STAGES.get(progress.stage, progress.stage), progress.fraction)

    return heard


@contextmanager
def answered(photo: photos.Photo | None, connection: ServerSettings) -> Iterator[None]:
    """What the server refuses, or its silence, in one sentence for the artist."""
    try:
        yield
    except Refused as error:
        raise InputError(f"{photo.name}: {error}" if photo is not None else str(error)) from error
    except ServerUnreachable as error:
        raise LeadlineError(runtime.link.explained(error, connection)) from error


class LEADLINE_OT_generate(TaskOperator, bpy.types.Operator):
    """Turn the photograph into geometry. Blender stays usable meanwhile; Esc stops it"""

    bl_idname = "leadline.generate"
    bl_label = "Generate"
    bl_options = {"UNDO"}

    filepath: StringProperty(  # type: ignore[valid-type]
        name="Photograph",
        description="An image file; empty: what the panel says",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runtime.busy():
            cls.poll_message_set("Leadline is at work already")
            return False
        return context.mode == "OBJECT"

    def begin(self, context: bpy.types.Context) -> Task:
        self._photo = photos.photo_from_file(self.filepath) if self.filepath else photos.photo_from_settings(context)
        self._options, self._image = Snapshot(settings_of(context)), ""
        self._update = settings_of(context).update_existing
        photo, options = self._photo, self._options
        ask = ask_for_depth(context, photo, plain=options.result == "PANORAMA")

        def target() -> bpy.types.Object | None:
            return results.find_object(bpy.context, self._picture()) if self._update else None

        def work(report: Report) -> tuple[Depth, Shape]:
            if options.result == "PANORAMA":
                depth = depth_all_round(report, self._picture, options, ask)
            else:
                depth = ask(report)
            report.progress("building the surface", 1.0)
            return depth, shape(depth, results.look(report, self._picture, options, target), options)

        return Task(work, photo.name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        depth, made = task.result
        image = self._picture()
        target = results.find_object(context, image) if self._update else None
        thing = results.realise(context, image, depth, made, self._options, target)
        if target is None:
            sight.show(context, thing)
        where = {"": "", "cpu": ", computed on the processor"}.get(depth.device, f", computed on {depth.device}")
        return f"{thing.name}: {len(mesh_of(thing).vertices):,} vertices{where}"

    def _picture(self) -> bpy.types.Image:
        """The photograph in Blender, made once; made again if it was removed meanwhile."""
        image = item(bpy.data.images, self._image) if self._image else None
        if image is None:
            image = self._photo.data_block(self._update)
            self._image = image.name
        return image


class LEADLINE_OT_cancel(bpy.types.Operator):
    """Stop what Leadline is doing"""

    bl_idname = "leadline.cancel"
    bl_label = "Stop"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return runtime.busy()

    def execute(self, context: bpy.types.Context) -> Outcome:
        present(runtime.task).cancel()
        return {"FINISHED"}


CLASSES = (LEADLINE_OT_generate, LEADLINE_OT_cancel)
