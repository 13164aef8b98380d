# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph's surface normals by a model that sees them: a normal map, on a card that takes the scene's light."""

from __future__ import annotations

import bpy

from leadline.depth.normals import NormalsPrediction
from leadline.errors import InputError
from leadline.geometry import grid_mesh
from leadline.serving.client.client import ServerInfo

from . import effort, materials, photos, results, runtime, sight
from .chosen import server_settings
from .generate import answered, connected, told
from .host import item, mesh_of, present
from .meshes import UV_NAME
from .properties import settings_of
from .running import TaskOperator
from .task import Report, Task

#: UVs of the card for what lies upright, whatever the camera wrote.
UPRIGHT_UV = "Upright"


class LEADLINE_OT_normal_map(TaskOperator, bpy.types.Operator):
    """Make a normal map of the photograph, by a model for surface normals, and a card with both that takes the scene's light"""

    bl_idname = "leadline.normal_map"
    bl_label = "Make Normal Map"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runtime.busy():
            cls.poll_message_set("Leadline is at work already")
            return False
        return context.mode == "OBJECT"

    def begin(self, context: bpy.types.Context) -> Task:
        settings = settings_of(context)
        self._photo = photo = photos.photo_from_settings(context)
        connection, model, seed = server_settings(context), settings.normals_model.strip(), settings.seed
        quality, custom = settings.quality, settings.custom_effort()

        def work(report: Report) -> NormalsPrediction:
            sent = photo.content(report)
            client = connected(report, connection)
            with answered(photo, connection):
                info = client.hello()
                name = model or seer(info)
                wanted = custom if quality == "CUSTOM" else effort.for_quality(quality, effort.find(info, name))
                return client.normals(
                    sent, model=name, steps=wanted.steps, ensemble=wanted.ensemble, size=wanted.size, seed=seed,
                    on_progress=told(report), cancel=report.stop,
                )  # fmt: skip

        return Task(work, photo.name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        prediction: NormalsPrediction = task.result
        image = self._photo.data_block()
        name = f"{image.name} normals"
        # A normal map holds 0 to 1 for -1 to 1. Row 0 of the prediction is the top.
        normals = photos.write_map(0.5 + 0.5 * prediction.values, name, item(bpy.data.images, name), 1)
        thing = _card_of(context, normals)
        if thing is None:
            thing = _card(context, image, prediction.shape)
            mesh_of(thing).materials.append(materials.normal_map_material(image, normals, UPRIGHT_UV))
            sight.make_room(context, thing)
            sight.show(context, thing)
        return f"{normals.name}: a normal map of {normals.size[0]}×{normals.size[1]} by {prediction.model}"


def seer(info: ServerInfo) -> str:
    """The first model of a server that gives normals.

    Raises:
        InputError: It has none.
    """
    for model in info.models:
        if model.output == "normals":
            return model.name
    raise InputError(
        "the server has no model for surface normals; on its computer run: leadline pull marigold-e2e-ft-normals"
    )


def _card_of(context: bpy.types.Context, normals: bpy.types.Image) -> bpy.types.Object | None:
    """The object in the scene that has this normal map already."""
    for thing in present(context.scene).objects:
        if thing.type == "MESH" and any(materials.normal_map_of(one) == normals for one in mesh_of(thing).materials):
            return thing
    return None


def _card(context: bpy.types.Context, image: bpy.types.Image, size: tuple[int, int]) -> bpy.types.Object:
    """A flat rectangle of the photograph's shape, upright at the 3D cursor."""
    shape = grid_mesh(size[0], size[1], settings_of(context).width_m, 2)
    units_per_m = 1.0 / present(context.scene).unit_settings.scale_length
    thing = results.place(context, None, shape, f"{image.name} card", units_per_m, photos.orientation_of(image))
    layers = mesh_of(thing).uv_layers
    layers.new(name=UPRIGHT_UV, do_init=False).uv.foreach_set("vector", shape.uv[shape.faces.ravel()].ravel())
    layers[UV_NAME].active_render = True  # the photograph goes by this one
    return thing


CLASSES = (LEADLINE_OT_normal_map,)
