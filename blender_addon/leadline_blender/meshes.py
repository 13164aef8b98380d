# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry into Blender's mesh data-blocks, by the quickest way there is: whole arrays into named attributes."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import bpy
import numpy as np

from leadline.geometry import Mesh, stored_uv

from .host import mesh_of

UV_NAME = "UVMap"


def mesh_data(
    mesh: Mesh, name: str, units_per_m: float, orientation: int, same: np.ndarray | None = None
) -> bpy.types.Mesh:
    """A new mesh data-block with UVs, smooth shading and the attributes `depth` and `uncertainty` (metres, points).

    ``orientation``: how the photograph that the UVs are for is stored. ``same``: vertices of a seam that become one, whose
    corners keep texture coordinates of their own.
    """
    data = bpy.data.meshes.new(name)
    corner_uv = np.take(stored_uv(mesh.uv, orientation), mesh.faces.ravel(), axis=0)
    if same is not None:
        mesh = dataclasses.replace(mesh, faces=same[mesh.faces]).without_loose_vertices()
    corners = mesh.faces.shape[1]
    data.vertices.add(len(mesh.vertices))
    data.loops.add(mesh.faces.size)
    data.polygons.add(len(mesh.faces))
    positions = mesh.vertices if units_per_m == 1.0 else mesh.vertices * np.float32(units_per_m)
    attributes: Any = data.attributes  # each kind has `data`; the stub knows only what all share
    attributes["position"].data.foreach_set("vector", positions.ravel())
    data.polygons.foreach_set("loop_start", np.arange(0, mesh.faces.size, corners, dtype=np.int32))
    attributes[".corner_vert"].data.foreach_set("value", mesh.faces.ravel())
    uv = data.uv_layers.new(name=UV_NAME, do_init=False)
    uv.uv.foreach_set("vector", corner_uv.ravel())
    if mesh.edges is None or mesh.face_edges is None:
        data.update(calc_edges=True)
    else:
        data.edges.add(len(mesh.edges))
        attributes[".edge_verts"].data.foreach_set("value", mesh.edges.ravel())
        attributes[".corner_edge"].data.foreach_set("value", mesh.face_edges.ravel())
        data.update()
    add_attribute(data, "depth", mesh.depth)
    if mesh.uncertainty is not None:
        add_attribute(data, "uncertainty", mesh.uncertainty)
    return data


def add_attribute(
    data: bpy.types.Mesh, name: str, values: np.ndarray, domain: Literal["POINT", "FACE"] = "POINT"
) -> None:
    """float32, one for each vertex or face."""
    attribute: Any = data.attributes.new(name, "FLOAT", domain)
    attribute.data.foreach_set("value", np.ascontiguousarray(values, np.float32))


def exchange_mesh(thing: bpy.types.Object, data: bpy.types.Mesh) -> None:
    """Give an object its new mesh; the materials stay, the old mesh goes if nobody else uses it."""
    old = mesh_of(thing)
    for material in old.materials:
        data.materials.append(material)
    name = old.name
    thing.data = data
    if old.users == 0:
        bpy.data.meshes.remove(old)
    data.name = name
