# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry Nodes by code, alike in all versions of Blender."""

from __future__ import annotations

from typing import Any

import bpy


def new_group(name: str) -> tuple[Any, Any, Any]:
    """An empty modifier group from geometry to geometry, its input node, and its links."""
    group: Any = bpy.data.node_groups.new(name, "GeometryNodeTree")  # type: ignore[arg-type]
    group.is_modifier = True
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    return group, add_node(group, "NodeGroupInput", -900, 0), group.links


def add_input(group: Any, label: str, default: float, low: float, high: float, subtype: str, hint: str) -> None:
    """A number that the modifier shows."""
    socket = group.interface.new_socket(label, in_out="INPUT", socket_type="NodeSocketFloat")
    socket.subtype = subtype
    socket.default_value, socket.min_value, socket.max_value = default, low, high
    socket.description = hint


def add_node(group: Any, kind: str, x: float, y: float, **settings: Any) -> Any:
    node = group.nodes.new(kind)
    node.location = (x, y)
    for name, value in settings.items():
        setattr(node, name, value)
    return node


def calculate(group: Any, operation: str, one: Any, other: Any = None) -> Any:
    """The result of a Math node; operands are sockets or numbers."""
    node = add_node(group, "ShaderNodeMath", 0, 0, operation=operation)
    for socket, value in zip(node.inputs, (one, other), strict=False):
        if isinstance(value, (int, float)):
            socket.default_value = value
        elif value is not None:
            group.links.new(value, socket)
    return node.outputs[0]


def image_colour(group: Any, image: Any, uv_name: str) -> Any:
    """The node that looks an image up at the texture coordinates of each vertex."""
    where = add_node(group, "GeometryNodeInputNamedAttribute", -900, -400, data_type="FLOAT_VECTOR")
    where.inputs["Name"].default_value = uv_name
    picture = add_node(group, "GeometryNodeImageTexture", -600, -200, extension="EXTEND")
    group.links.new(image, picture.inputs["Image"])
    group.links.new(used_socket(where.outputs, "Attribute"), picture.inputs["Vector"])
    return picture


def used_socket(sockets: Any, name: str) -> Any:
    """The socket of a name that is in use: before Blender 5 a node had one of each name for each data type."""
    return next(socket for socket in sockets if socket.name == name and socket.enabled)
