# SPDX-License-Identifier: GPL-3.0-or-later
"""A film as a scene: for each frame the surface that the camera saw, by Geometry Nodes, through one camera.

The mesh is what the camera would see of a wall one metre away. Each vertex goes along its line of sight to its depth in the
frame that is shown, between the nearest and the farthest distance, in the space that the model speaks. Faces that turn
too far from the camera are left out. Files with such objects need no add-on.
"""

from __future__ import annotations

import math
from typing import Any, cast

import bpy

from leadline.depth.spaces import Space

from . import live
from .host import item
from .meshes import UV_NAME
from .nodes import add_input, add_node, calculate, image_colour, new_group, used_socket

NEAREST, FARTHEST, STEEPEST = "Nearest", "Farthest", "Steepest"

#: Metres into a space, and back, as operations of a Math node with their second operand.
_INTO = {
    Space.DISPARITY: ("DIVIDE", 1.0),
    Space.SQRT_DISPARITY: ("INVERSE_SQRT", None),
    Space.LOG_DEPTH: ("LOGARITHM", math.e),
    Space.DEPTH: ("ADD", 0.0),
}
#: A map reaches at most this factor beyond the nearest and the farthest distance, as in still scenes.
_BEYOND = 1.25


def attach(
    thing: bpy.types.Object,
    image: bpy.types.Image,
    space: Space,
    first: int,
    frames: int,
    range_units: tuple[float, float],
    steepest: float,
) -> None:
    """Give an object the set-up. ``image`` is the sequence of nearness, whose frame 1 is shown at frame ``first`` of the scene."""
    name = f"{live.MODIFIER} Film {space.value}"
    live.use_group(thing, item(bpy.data.node_groups, name) or _build(name, space))
    live.write(thing, NEAREST, range_units[0])
    live.write(thing, FARTHEST, range_units[1])
    live.write(thing, STEEPEST, steepest)
    live.write(thing, "Image", image)
    live.write(thing, "First Frame", first)
    live.write(thing, "Frames", frames)


def _build(name: str, space: Space) -> bpy.types.NodeTree:
    group, given, links = new_group(name)
    add_input(
        group, NEAREST, 1.5, 1e-3, 1e6, "DISTANCE", "How far from the camera the nearest things of the first frame are"
    )
    add_input(
        group,
        FARTHEST,
        6.0,
        2e-3,
        1e6,
        "DISTANCE",
        "How far from the camera the farthest things of the first frame are",
    )
    add_input(group, STEEPEST, 1.36, 0.0, math.pi / 2, "ANGLE", "Faces that turn farther from the camera are left out")
    group.interface.new_socket("Image", in_out="INPUT", socket_type="NodeSocketImage")
    for label in ("First Frame", "Frames"):
        group.interface.new_socket(label, in_out="INPUT", socket_type="NodeSocketInt")
    near, far = given.outputs[NEAREST], given.outputs[FARTHEST]
    depth = _depth(group, _nearness(group, given), near, far, space)
    lowest, highest = calculate(group, "DIVIDE", near, _BEYOND), calculate(group, "MULTIPLY", far, _BEYOND)
    depth = calculate(group, "MINIMUM", calculate(group, "MAXIMUM", depth, lowest), highest)
    here = add_node(group, "GeometryNodeInputPosition", -200, -200)
    away = add_node(group, "ShaderNodeVectorMath", 0, -200, operation="SCALE")
    links.new(here.outputs[0], away.inputs[0])
    links.new(depth, used_socket(away.inputs, "Scale"))
    moved = add_node(group, "GeometryNodeSetPosition", 200, 100)
    links.new(given.outputs["Geometry"], moved.inputs["Geometry"])
    links.new(away.outputs["Vector"], moved.inputs["Position"])
    cut = add_node(group, "GeometryNodeDeleteGeometry", 500, 100, domain="FACE", mode="ALL")
    links.new(moved.outputs["Geometry"], cut.inputs["Geometry"])
    links.new(_too_steep(group, given.outputs[STEEPEST]), cut.inputs["Selection"])
    out = add_node(group, "NodeGroupOutput", 700, 100)
    links.new(cut.outputs["Geometry"], out.inputs["Geometry"])
    return cast(bpy.types.NodeTree, group)


def _nearness(group: Any, given: Any) -> Any:
    """Nearness of each vertex in the frame that is shown; the film stands still before and after."""
    picture = image_colour(group, given.outputs["Image"], UV_NAME)
    picture.interpolation = "Closest"  # nothing hangs between an object and its background
    now = add_node(group, "GeometryNodeInputSceneTime", -900, -600)
    since = calculate(group, "SUBTRACT", now.outputs["Frame"], given.outputs["First Frame"])
    number = calculate(
        group, "MINIMUM", calculate(group, "ADD", calculate(group, "MAXIMUM", since, 0.0), 1.0), given.outputs["Frames"]
    )
    group.links.new(number, picture.inputs["Frame"])
    red = add_node(group, "FunctionNodeSeparateColor", -450, -200)
    group.links.new(picture.outputs["Color"], red.inputs["Color"])
    return red.outputs["Red"]


def _depth(group: Any, nearness: Any, near: Any, far: Any, space: Space) -> Any:
    """Depth that is affine in nearness in the model's space: 1 is ``near``, 0 is ``far``."""

    def into(metres: Any) -> Any:
        operation, operand = _INTO[space]
        return calculate(group, operation, *((1.0, metres) if operation == "DIVIDE" else (metres, operand)))

    low, high = into(far), into(near)
    value = calculate(
        group, "ADD", low, calculate(group, "MULTIPLY", nearness, calculate(group, "SUBTRACT", high, low))
    )
    if space is Space.DEPTH:
        return value
    if space is Space.LOG_DEPTH:
        return calculate(group, "EXPONENT", value)
    value = calculate(group, "MAXIMUM", value, 1e-6)
    return calculate(
        group, "DIVIDE", 1.0, calculate(group, "MULTIPLY", value, value) if space is Space.SQRT_DISPARITY else value
    )


def _too_steep(group: Any, steepest: Any) -> Any:
    """Whether a face's normal and its line of sight from the origin enclose more than the angle."""
    normal = add_node(group, "GeometryNodeInputNormal", 0, -500)
    here = add_node(group, "GeometryNodeInputPosition", 0, -600)
    sight = add_node(group, "ShaderNodeVectorMath", 100, -600, operation="NORMALIZE")
    group.links.new(here.outputs[0], sight.inputs[0])
    facing = add_node(group, "ShaderNodeVectorMath", 250, -500, operation="DOT_PRODUCT")
    group.links.new(normal.outputs[0], facing.inputs[0])
    group.links.new(sight.outputs["Vector"], facing.inputs[1])
    towards = calculate(group, "ABSOLUTE", facing.outputs["Value"])
    return calculate(group, "LESS_THAN", towards, calculate(group, "COSINE", steepest))
