# SPDX-License-Identifier: GPL-3.0-or-later
"""Relief and displacement as a Geometry Nodes set-up: strength, near, far and cut stay live until they are baked.

Height of a vertex: ``strength * clip((nearness - farthest) / (nearest - farthest), 0, 1)``. A face goes if the jump in
depth that it bridges is larger than the cut. Nearness is an attribute of the vertices (relief) or an image that may be
painted on (displacement). Files with such objects need no add-on.
"""

from __future__ import annotations

from typing import Any, cast

import bpy

from .host import item
from .meshes import UV_NAME
from .nodes import add_input, add_node, image_colour, new_group, used_socket

MODIFIER = "Leadline Live"
#: Attributes of the flat mesh: of its vertices, and of its faces.
NEARNESS, JUMP = "nearness", "jump"
#: Inputs in the order in which they are shown: name, kind, default, lowest, highest, unit.
_INPUTS = (
    ("Strength", 0.4, 0.0, 10000.0, "DISTANCE"),
    ("Nearest", 1.0, 0.0, 1.0, "FACTOR"),
    ("Farthest", 0.0, 0.0, 1.0, "FACTOR"),
    ("From Jump Of", 1.0, 0.0, 1.0, "FACTOR"),
)
STRENGTH, CUT = "Strength", "From Jump Of"
_HINTS = {
    "Strength": "How far the nearest point rises above the farthest",
    "Nearest": "What is nearer than this share of the range lies flat on top",
    "Farthest": "What is farther than this share of the range lies flat at the bottom",
    "From Jump Of": "How much nearer the one side has to be than the other for a cut. 1: nothing is cut",
}


def modifier_of(thing: bpy.types.Object | None) -> Any:
    """The live set-up of an object (a NodesModifier, whose inputs the stubs do not know); None if it has none."""
    found: Any = thing.modifiers.get(MODIFIER) if thing is not None else None
    return found if found is not None and found.type == "NODES" and found.node_group is not None else None


def attach(thing: bpy.types.Object, strength: float, cut: float, image: bpy.types.Image | None) -> None:
    """Give an object the set-up, or bring its own in line; the levels that the artist chose stay.

    ``image`` holds nearness; None: the attribute does.
    """
    use_group(thing, node_group(image is not None))
    write(thing, STRENGTH, strength)
    write(thing, CUT, cut)
    if image is not None:
        write(thing, "Image", image)


def use_group(thing: bpy.types.Object, group: bpy.types.NodeTree) -> None:
    """The object's live modifier runs this group."""
    if modifier_of(thing) is None:
        detach(thing)
        thing.modifiers.new(MODIFIER, "NODES")
    modifier: Any = thing.modifiers[MODIFIER]
    if modifier.node_group != group:
        modifier.node_group = group


def detach(thing: bpy.types.Object) -> None:
    """Take the set-up away from an object that is to be something else."""
    if MODIFIER in thing.modifiers:
        thing.modifiers.remove(thing.modifiers[MODIFIER])


def read(thing: bpy.types.Object, name: str) -> Any:
    """The value of an input."""
    owner, at = held(thing, name)
    return getattr(owner, at) if at.isidentifier() else owner[_key(at)]


def held(thing: bpy.types.Object, name: str) -> tuple[Any, str]:
    """What holds the value of an input, and the property there: for reading, writing and drawing it."""
    modifier = modifier_of(thing)
    key = identifier(modifier.node_group, name)
    inputs = getattr(getattr(modifier, "properties", None), "inputs", None)
    # Blender 5.2 gave the inputs properties of their own; before, they were custom properties of the modifier.
    return (modifier, f'["{key}"]') if inputs is None else (getattr(inputs, key), "value")


def _key(at: str) -> str:
    return at[2:-2]


def image_of(thing: bpy.types.Object) -> bpy.types.Image | None:
    """The image of nearness that a live displacement reads."""
    modifier = modifier_of(thing)
    if modifier is None or modifier.node_group != item(bpy.data.node_groups, _group_name(True)):
        return None
    return cast("bpy.types.Image | None", read(thing, "Image"))


def write(thing: bpy.types.Object, name: str, value: Any) -> None:
    owner, at = held(thing, name)
    if at.isidentifier():
        setattr(owner, at, value)
    else:
        owner[_key(at)] = value
    thing.update_tag()


def inputs(thing: bpy.types.Object) -> list[str]:
    """The numbers that an artist can set, in order."""
    return [s.name for s in _sockets(modifier_of(thing).node_group) if s.socket_type == "NodeSocketFloat"]


def _sockets(group: Any) -> list[Any]:
    return [s for s in group.interface.items_tree if s.item_type == "SOCKET" and s.in_out == "INPUT"]


def identifier(group: Any, name: str) -> str:
    """By what a modifier knows the input ``name`` of its group."""
    return str(next(socket for socket in _sockets(group) if socket.name == name).identifier)


def node_group(with_image: bool) -> bpy.types.NodeTree:
    """The node group, one for all objects of a file; built if the file does not have it yet."""
    name = _group_name(with_image)
    return item(bpy.data.node_groups, name) or _build(name, with_image)


def _group_name(with_image: bool) -> str:
    return f"{MODIFIER} {'Displacement' if with_image else 'Relief'}"


def _build(name: str, with_image: bool) -> bpy.types.NodeTree:
    group, given, links = new_group(name)
    for label, default, low, high, subtype in _INPUTS:
        add_input(group, label, default, low, high, subtype, _HINTS[label])
    if with_image:
        group.interface.new_socket("Image", in_out="INPUT", socket_type="NodeSocketImage")
    near = _nearness(group, given, with_image)
    height = add_node(group, "ShaderNodeMapRange", -300, -200)
    height.clamp = True
    links.new(near, height.inputs["Value"])
    links.new(given.outputs["Farthest"], height.inputs["From Min"])
    links.new(given.outputs["Nearest"], height.inputs["From Max"])
    links.new(given.outputs["Strength"], height.inputs["To Max"])
    height.inputs["To Min"].default_value = 0.0
    up = add_node(group, "ShaderNodeCombineXYZ", -100, -200)
    links.new(height.outputs["Result"], up.inputs["Z"])
    raised = add_node(group, "GeometryNodeSetPosition", 100, 100)
    links.new(given.outputs["Geometry"], raised.inputs["Geometry"])
    links.new(up.outputs["Vector"], raised.inputs["Offset"])
    kept = add_node(group, "GeometryNodeStoreNamedAttribute", 300, 100)
    kept.data_type, kept.domain = "FLOAT", "POINT"
    kept.inputs["Name"].default_value = "depth"
    links.new(raised.outputs["Geometry"], kept.inputs["Geometry"])
    links.new(height.outputs["Result"], used_socket(kept.inputs, "Value"))
    jump = add_node(group, "GeometryNodeInputNamedAttribute", 100, -300)
    jump.data_type = "FLOAT"
    jump.inputs["Name"].default_value = JUMP
    torn = add_node(group, "FunctionNodeCompare", 300, -200)
    torn.data_type, torn.operation = "FLOAT", "GREATER_THAN"
    links.new(used_socket(jump.outputs, "Attribute"), used_socket(torn.inputs, "A"))
    links.new(given.outputs[CUT], used_socket(torn.inputs, "B"))
    cut = add_node(group, "GeometryNodeDeleteGeometry", 500, 100)
    cut.domain, cut.mode = "FACE", "ALL"
    links.new(kept.outputs["Geometry"], cut.inputs["Geometry"])
    links.new(torn.outputs["Result"], cut.inputs["Selection"])
    out = add_node(group, "NodeGroupOutput", 700, 100)
    links.new(cut.outputs["Geometry"], out.inputs["Geometry"])
    return cast(bpy.types.NodeTree, group)


def _nearness(group: Any, given: Any, with_image: bool) -> Any:
    """The socket that has the nearness of each vertex."""
    if not with_image:
        near = add_node(group, "GeometryNodeInputNamedAttribute", -600, -200)
        near.data_type = "FLOAT"
        near.inputs["Name"].default_value = NEARNESS
        return used_socket(near.outputs, "Attribute")
    red = add_node(group, "FunctionNodeSeparateColor", -450, -200)
    group.links.new(image_colour(group, given.outputs["Image"], UV_NAME).outputs["Color"], red.inputs["Color"])
    return red.outputs["Red"]
