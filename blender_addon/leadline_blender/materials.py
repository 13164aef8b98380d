# SPDX-License-Identifier: GPL-3.0-or-later
"""The photograph as a material."""

from __future__ import annotations

from typing import Any, cast

import bpy

from .host import present
from .photos import has_alpha

_PHOTO_NODE = "Leadline Photograph"
_CUT_NODE = "Leadline Cut-out"
_NORMALS_NODE = "Leadline Normals"
_PAINT_NODE = "Leadline Paint"
#: How much of the photograph paint hides.
_PAINT_OPACITY = 0.6


def photo_material(photo: bpy.types.Image, shading: str, existing: bpy.types.Material | None) -> bpy.types.Material:
    """A material that shows the photograph through the UVs. An existing one of ours is rewired, nothing else."""
    material = existing or bpy.data.materials.new(photo.name)
    material.use_nodes = True
    tree = present(material.node_tree)
    node: Any = tree.nodes.get(_PHOTO_NODE)
    if node is None:
        tree.nodes.clear()
        node = tree.nodes.new("ShaderNodeTexImage")
        node.name = node.label = _PHOTO_NODE
        node.location = (-400, 300)
        tree.nodes.new("ShaderNodeOutputMaterial").location = (300, 300)
    node.image = photo
    node.extension = "EXTEND"
    wanted = "ShaderNodeEmission" if shading == "EMISSION" else "ShaderNodeBsdfPrincipled"
    shader = next((n for n in tree.nodes if n.bl_idname == wanted), None)
    if shader is None:
        for other in [n for n in tree.nodes if n.bl_idname in ("ShaderNodeEmission", "ShaderNodeBsdfPrincipled")]:
            tree.nodes.remove(other)
        shader = tree.nodes.new(wanted)
        shader.location = (0, 300)
    if wanted == "ShaderNodeBsdfPrincipled":
        roughness: Any = shader.inputs["Roughness"]
        roughness.default_value = 0.8
    surface = shader.outputs[0]
    if has_alpha(photo):
        if wanted == "ShaderNodeBsdfPrincipled":
            tree.links.new(node.outputs["Alpha"], shader.inputs["Alpha"])
        else:
            surface = _see_through(tree, node.outputs["Alpha"], surface)
    output = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(node.outputs["Color"], shader.inputs["Color" if shading == "EMISSION" else "Base Color"])
    tree.links.new(surface, output.inputs["Surface"])
    return material


def _see_through(
    tree: bpy.types.NodeTree, alpha: bpy.types.NodeSocket, surface: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """Nothing where the photograph is transparent, ``surface`` where it is not."""
    mix = tree.nodes.get(_CUT_NODE) or tree.nodes.new("ShaderNodeMixShader")
    mix.name = mix.label = _CUT_NODE
    mix.location = (150, 300)
    clear = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfTransparent"), None)
    if clear is None:
        clear = tree.nodes.new("ShaderNodeBsdfTransparent")
        clear.location = (0, 450)
    tree.links.new(alpha, mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(surface, mix.inputs[2])
    return mix.outputs[0]


def lay_over(material: bpy.types.Material, paint: bpy.types.Image) -> None:
    """Show a painted image over the photograph of a material of ours, where it is opaque."""
    take_off(material)
    tree = present(material.node_tree)
    photo: Any = _photo_node(material)
    shader = next(n for n in tree.nodes if n.bl_idname in ("ShaderNodeEmission", "ShaderNodeBsdfPrincipled"))
    over: Any = tree.nodes.new("ShaderNodeTexImage")
    weaker: Any = tree.nodes.new("ShaderNodeMath")
    mix: Any = tree.nodes.new("ShaderNodeMix")
    for node, x in ((over, -700), (weaker, -400), (mix, -200)):
        node.name, node.location = f"{_PAINT_NODE} {node.type}", (x, 0)
    over.image, over.extension = paint, "EXTEND"
    weaker.operation = "MULTIPLY"
    weaker.inputs[1].default_value = _PAINT_OPACITY
    mix.data_type = "RGBA"
    factor, one, other = (next(s for s in mix.inputs if s.enabled and s.name == name) for name in ("Factor", "A", "B"))
    tree.links.new(over.outputs["Alpha"], weaker.inputs[0])
    tree.links.new(weaker.outputs[0], factor)
    tree.links.new(photo.outputs["Color"], one)
    tree.links.new(over.outputs["Color"], other)
    tree.links.new(next(s for s in mix.outputs if s.enabled), shader.inputs[0])


def take_off(material: bpy.types.Material) -> None:
    """Show the photograph alone again; `photo_material` links it anew."""
    tree = present(material.node_tree)
    for node in [node for node in tree.nodes if node.name.startswith(_PAINT_NODE)]:
        tree.nodes.remove(node)


def normal_map_material(photo: bpy.types.Image, normals: bpy.types.Image, uv_name: str) -> bpy.types.Material:
    """A new lit material: the photograph's colours, and bumps by a tangent-space normal map through the UVs ``uv_name``."""
    material = photo_material(photo, "PRINCIPLED", None)
    tree = present(material.node_tree)
    where: Any = tree.nodes.new("ShaderNodeUVMap")
    where.uv_map, where.location = uv_name, (-700, -100)
    picture: Any = tree.nodes.new("ShaderNodeTexImage")
    picture.name = picture.label = _NORMALS_NODE
    picture.image, picture.extension, picture.location = normals, "EXTEND", (-500, -100)
    bend: Any = tree.nodes.new("ShaderNodeNormalMap")
    bend.space, bend.uv_map, bend.location = "TANGENT", uv_name, (-200, -100)
    shader = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    tree.links.new(where.outputs["UV"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], bend.inputs["Color"])
    tree.links.new(bend.outputs["Normal"], shader.inputs["Normal"])
    return material


def normal_map_of(material: bpy.types.Material | None) -> bpy.types.Image | None:
    """The normal map of a material of ours that has one."""
    node: Any = None if material is None or material.node_tree is None else material.node_tree.nodes.get(_NORMALS_NODE)
    return None if node is None else node.image


def is_ours(material: bpy.types.Material | None) -> bool:
    return material is not None and material.node_tree is not None and _PHOTO_NODE in material.node_tree.nodes


def picture_of(material: bpy.types.Material | None) -> bpy.types.Image | None:
    """The picture that a material of ours shows."""
    return _photo_node(material).image if material is not None and is_ours(material) else None


def _photo_node(material: bpy.types.Material) -> bpy.types.ShaderNodeTexImage:
    return cast(bpy.types.ShaderNodeTexImage, present(material.node_tree).nodes[_PHOTO_NODE])


def play_sequence(material: bpy.types.Material, frames: int, start: int, offset: int) -> None:
    """Let the material's photograph run as an image sequence or movie."""
    user = _photo_node(material).image_user
    user.frame_duration, user.frame_start, user.frame_offset = frames, start, offset
    user.use_auto_refresh = True
