# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators share that work on a scene: which one is meant, and how it gets its new shape without a wait."""

from __future__ import annotations

import bpy

from leadline.errors import InputError

from . import results, runtime
from .depth import Depth
from .host import item, present
from .properties import Snapshot, memory_of
from .running import TaskOperator
from .shaping import Seen, Shape, shape
from .task import Report, Task


def scene_object(context: bpy.types.Context) -> bpy.types.Object | None:
    """The active object if it is a Leadline scene, or the one that the active reference point belongs to."""
    thing = context.active_object
    if thing is not None and thing.type == "EMPTY" and thing.parent is not None:
        thing = thing.parent
    if thing is None or memory_of(thing).photo is None or memory_of(thing).result != "PERSPECTIVE":
        return None
    return thing


class SceneTask(TaskOperator):
    """Mix-in for operators with a task about the active scene: `start` begins it, `done` uses its result."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy() and scene_object(context) is not None

    def start(self, context: bpy.types.Context, thing: bpy.types.Object) -> Task:
        """As `begin`, with the scene."""
        raise NotImplementedError

    def done(self, context: bpy.types.Context, thing: bpy.types.Object, task: Task) -> str:
        """As `finish`, with the scene."""
        raise NotImplementedError

    def begin(self, context: bpy.types.Context) -> Task:
        thing = present(scene_object(context))
        self._name = thing.name
        return self.start(context, thing)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return self.done(context, self._thing(), task)

    def reshape(self, report: Report, depth: Depth, options: Snapshot) -> Shape:
        """The scene's geometry from another depth; for the thread."""
        report.progress("building the surface", 1.0)

        def look() -> Seen:
            thing = self._thing()
            return results.look(memory_of(thing).photo, depth.values.shape, options, thing)

        return shape(depth, report.on_main(look), options)

    def _thing(self) -> bpy.types.Object:
        thing = item(bpy.data.objects, self._name)
        if thing is None:
            raise InputError("the object is gone; generate it again")
        return thing
