# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's types where its stubs promise less than Blender does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import bpy

T = TypeVar("T")

#: What mix-ins build on: for type checkers the real thing; Blender itself wants them to be no operators and panels.
if TYPE_CHECKING:
    OperatorPart = bpy.types.Operator
    PanelPart = bpy.types.Panel
else:
    OperatorPart = PanelPart = object

#: What an operator gives back.
Outcome = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]


def present(value: T | None) -> T:
    """What is always there where it is asked for: a scene in a context, a layout while a panel is drawn."""
    assert value is not None, "Blender called this where the add-on does not expect it"
    return value


def item(collection: bpy.types.bpy_prop_collection[T], name: str) -> T | None:
    """What a collection has under a name; None if there is nothing."""
    return cast("T | None", collection.get(name))  # the stub loses the type


def pixels(image: bpy.types.Image) -> Any:
    """All numbers of an image, with `foreach_get` and `foreach_set`; the stub takes them for a single one."""
    return image.pixels


def mesh_of(thing: bpy.types.Object) -> bpy.types.Mesh:
    """The mesh of an object that has one."""
    assert isinstance(thing.data, bpy.types.Mesh), f"{thing.name} is no mesh"
    return thing.data


def blender_command() -> list[str]:
    """The command that runs a script in a second Blender without a window."""
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "--background", "--factory-startup", "--python-exit-code", "3", "--python"]
    return [sys.executable]  # Blender as a Python module


def camera_of(thing: bpy.types.Object) -> bpy.types.Camera:
    """The lens of a camera object."""
    assert isinstance(thing.data, bpy.types.Camera), f"{thing.name} is no camera"
    return thing.data
