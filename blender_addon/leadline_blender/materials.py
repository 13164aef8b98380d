# SPDX-License-Identifier: GPL-3.0-or-later
"""The photograph as a material."""

from __future__ import annotations

import bpy

_PHOTO_NODE = "Leadline Photograph"


def photo_material(photo: bpy.types.Image, shading: str, existing: bpy.types.Material | None) -> bpy.types.Material:
    """A material that shows the photograph through the UVs. An existing one of ours is rewired, nothing else."""
    material = existing or bpy.data.materials.new(photo.name)
    material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.get(_PHOTO_NODE)
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
        shader.inputs["Roughness"].default_value = 0.8
    output = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(node.outputs["Color"], shader.inputs["Color" if shading == "EMISSION" else "Base Color"])
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def is_ours(material: bpy.types.Material | None) -> bool:
    return material is not None and material.node_tree is not None and _PHOTO_NODE in material.node_tree.nodes


def play_sequence(material: bpy.types.Material, frames: int, start: int, offset: int) -> None:
    """Let the material's photograph run as an image sequence or movie."""
    user = material.node_tree.nodes[_PHOTO_NODE].image_user
    user.frame_duration, user.frame_start, user.frame_offset = frames, start, offset
    user.use_auto_refresh = True
