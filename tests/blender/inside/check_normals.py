# SPDX-License-Identifier: GPL-3.0-or-later
"""Normal maps by a model that sees surface normals."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from conftest import part


def pixels_of(image) -> np.ndarray:
    """float (H, W, 3), row 0 at the top."""
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)[::-1, :, :3]


def test_a_normal_map_and_a_card_that_uses_it(settings, photo):
    settings.quality, settings.steps, settings.ensemble = "CUSTOM", 1, 1
    assert bpy.ops.leadline.normal_map() == {"FINISHED"}
    normals = bpy.data.images["street.jpg normals"]
    assert normals.colorspace_settings.name == "Non-Color"
    assert normals.packed_file is not None
    runtime = part("runtime")
    server = runtime.link.client(part("chosen").server_settings(bpy.context))
    seen = server.normals(photo, model="faces", steps=1, ensemble=1)
    assert tuple(normals.size) == (180, 120)
    np.testing.assert_allclose(2 * pixels_of(normals) - 1, seen.values, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(seen.values, axis=-1), 1, atol=1e-4)
    assert runtime.message.text == f"street.jpg normals: a normal map of 180×120 by {seen.model}"

    card = bpy.context.active_object
    assert card.name == "street.jpg card"
    np.testing.assert_allclose(card.dimensions.x / card.dimensions.y, 180 / 120, rtol=1e-4)
    (material,) = card.data.materials
    nodes = material.node_tree.nodes
    shader = next(node for node in nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    bend = shader.inputs["Normal"].links[0].from_node
    picture = bend.inputs["Color"].links[0].from_node
    assert (bend.space, bend.uv_map) == ("TANGENT", "Upright")
    assert picture.image == normals
    assert picture.inputs["Vector"].links[0].from_node.uv_map == "Upright"
    assert shader.inputs["Base Color"].links[0].from_node.image.name == "street.jpg"
    # The tangent space of the card is the camera's: u to the right, v up, the face towards the viewer.
    (face,) = card.data.polygons
    assert face.normal.z > 0.99
    upright = card.data.uv_layers["Upright"].uv
    for loop in face.loop_indices:
        corner, (u, v) = card.data.vertices[card.data.loops[loop].vertex_index].co, upright[loop].vector
        assert (corner.x > 0, corner.y > 0) == (u > 0.5, v > 0.5)


def test_once_more_changes_the_image_and_keeps_the_card(settings):
    assert bpy.ops.leadline.normal_map() == {"FINISHED"}
    before = pixels_of(bpy.data.images["street.jpg normals"])
    things = len(bpy.data.objects), len(bpy.data.images)
    settings.quality, settings.ensemble, settings.size = "CUSTOM", 1, 128
    assert bpy.ops.leadline.normal_map() == {"FINISHED"}
    assert (len(bpy.data.objects), len(bpy.data.images)) == things
    assert np.abs(pixels_of(bpy.data.images["street.jpg normals"]) - before).max() > 1e-3


def test_a_model_of_depth_refuses(settings):
    settings.normals_model = "one-step"
    with pytest.raises(RuntimeError, match="one-step gives depth, not normals"):
        bpy.ops.leadline.normal_map()
    assert "street.jpg normals" not in bpy.data.images
    assert not bpy.data.objects


def test_a_server_without_such_a_model_says_what_to_do():
    client = part("normals_ops").ServerInfo("server", 1, (), "", {})
    with pytest.raises(Exception, match="leadline pull marigold-e2e-ft-normals"):
        part("normals_ops").seer(client)
