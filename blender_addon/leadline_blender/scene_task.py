# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators share that give an object a new shape: which one is meant, and how it gets it without a wait."""

from __future__ import annotations

import bpy

from leadline.errors import InputError

from . import results, runtime
from .depth import Depth
from .host import item, mesh_of, present
from .properties import MeshOptions, memory_of
from .running import TaskOperator
from .shaping import Shape, shape
from .task import Report, Task


def scene_object(context: bpy.types.Context) -> bpy.types.Object | None:
    """The active object if it is a Leadline scene, or the one that the active reference point belongs to."""
    thing = context.active_object
    if thing is not None and thing.type == "EMPTY" and thing.parent is not None:
        thing = thing.parent
    if thing is None or memory_of(thing).photo is None or memory_of(thing).result != "PERSPECTIVE":
        return None
    return thing


class ObjectTask(TaskOperator):
    """Mix-in for operators with a task about one object, found again by name when the thread is done."""

    def choose(self, thing: bpy.types.Object) -> None:
        """Say which object it is."""
        self._name = thing.name

    def chosen(self) -> bpy.types.Object:
        """The object.

        Raises:
            InputError: It has been deleted meanwhile.
        """
        thing = item(bpy.data.objects, self._name)
        if thing is None:
            raise InputError("the object is gone; generate it again")
        return thing

    def reshape(self, report: Report, depth: Depth, options: MeshOptions) -> Shape:
        """The object's geometry from another depth; for the thread."""
        report.progress("building the surface", 1.0)
        seen = results.look(report, lambda: memory_of(self.chosen()).photo, options, self.chosen)
        return shape(depth, seen, options)

    def rebuilding(self, context: bpy.types.Context, options: MeshOptions) -> Task:
        """A task that builds the object again from the depth that it has; :meth:`rebuilt` uses its result."""

        def work(report: Report) -> tuple[Depth, Shape]:
            depth = report.on_main(lambda: results.stored_depth(self.chosen()))
            return depth, self.reshape(report, depth, options)

        return Task(work, self._name)

    def rebuilt(self, context: bpy.types.Context, task: Task, options: MeshOptions) -> str:
        """Bring what :meth:`rebuilding` made into the scene; a line for the user."""
        thing, (depth, made) = self.chosen(), task.result
        results.realise(context, memory_of(thing).photo, depth, made, options, thing)
        return f"{thing.name}: {len(mesh_of(thing).vertices):,} vertices"


class SceneTask(ObjectTask):
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
        self.choose(thing)
        return self.start(context, thing)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return self.done(context, self.chosen(), task)
