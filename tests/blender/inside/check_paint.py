# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth with a brush."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from check_results import attribute, depth_image, positions, valid, vertex_uv
from conftest import part

WHITE, BLACK, BLUE = (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.25, 1.0, 1.0)


@pytest.fixture
def slope(settings):
    """A scene whose depth grows from left to right, from 2 m to 8 m."""
    ratio = np.tile(np.linspace(0, 1, 180), (120, 1))
    settings.own_depth, settings.result, settings.use_cut = depth_image(2 * 4**ratio), "PERSPECTIVE", False
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    return bpy.context.active_object


def paint(thing, rows: slice, columns: slice, colour) -> None:
    """A stroke; rows and columns are shares of the picture, rows from above."""
    image = thing.leadline.paint
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    seen = pixels.reshape(height, width, 4)[::-1]
    seen[
        round(rows.start * height) : round(rows.stop * height),
        round(columns.start * width) : round(columns.stop * width),
    ] = colour
    image.pixels.foreach_set(pixels)
    image.update()


def start(brush: str = "NEARER"):
    assert bpy.ops.leadline.paint(brush=brush) == {"FINISHED"}
    return bpy.context.active_object.leadline.paint


def test_the_brush_is_ready(slope):
    image = start("NEARER")
    tools = bpy.context.scene.tool_settings
    assert bpy.context.mode == "PAINT_TEXTURE"
    assert tools.image_paint.canvas == image
    assert tuple(image.size) == (180, 120)
    assert image.depth == 32
    pixels = np.empty(180 * 120 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    assert not pixels.any(), "nothing is painted at first"
    unified = getattr(tools.image_paint, "unified_paint_settings", None) or tools.unified_paint_settings
    assert tuple(unified.color) == (1.0, 1.0, 1.0)
    start("REMOVE")
    assert unified.color[2] == 1.0
    assert unified.color[0] == 0.0
    names = [node.name for node in slope.data.materials[0].node_tree.nodes]
    assert sum(name.startswith("Leadline Paint") for name in names) == 3, "paint is seen over the photograph"
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    assert bpy.context.mode == "OBJECT"
    tree = slope.data.materials[0].node_tree
    assert not [node for node in tree.nodes if node.name.startswith("Leadline Paint")]
    photo = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeTexImage")
    assert photo.outputs["Color"].links[0].to_node.bl_idname == "ShaderNodeEmission"


def test_white_comes_nearer_black_goes_away_blue_is_gone(slope):
    before, stored = attribute(slope, "depth"), part("photos").read_map(slope.leadline.depth)
    faces = len(slope.data.polygons)
    start()
    slope.leadline.paint_share = 0.5
    paint(slope, slice(0, 0.3), slice(0, 1), WHITE)
    paint(slope, slice(0.7, 1), slice(0, 1), BLACK)
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    after, row = attribute(slope, "depth"), 1 - vertex_uv(slope)[:, 1]
    near, far = np.percentile(stored, [1, 99])
    step = (far / near) ** 0.5
    np.testing.assert_allclose(after[row < 0.27] * step, before[row < 0.27], rtol=0.02)
    np.testing.assert_allclose(after[row > 0.73] / step, before[row > 0.73], rtol=0.02)
    middle = (row > 0.33) & (row < 0.67)
    np.testing.assert_allclose(after[middle], before[middle], rtol=0.02)
    np.testing.assert_array_equal(part("photos").read_map(slope.leadline.depth), stored)
    start("REMOVE")
    paint(slope, slice(0, 0.3), slice(0, 1), BLUE)
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    assert valid(slope)
    assert len(slope.data.polygons) < 0.75 * faces
    assert (1 - vertex_uv(slope)[:, 1]).min() > 0.25
    assert bpy.ops.leadline.rebuild() == {"FINISHED"}, "it stays when the mesh is built again"
    assert len(slope.data.polygons) < 0.75 * faces
    assert bpy.ops.leadline.clear_paint() == {"FINISHED"}
    np.testing.assert_allclose(attribute(slope, "depth"), before, rtol=1e-5)
    assert slope.leadline.paint is None


@pytest.mark.parametrize("live", [False, True])
def test_reliefs_and_displacements_follow_paint(slope, live):
    assert bpy.ops.leadline.rebuild(result="RELIEF", height_m=1.0, use_live=live) == {"FINISHED"}
    start()
    paint(slope, slice(0, 1), slice(0.45, 0.55), WHITE)
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    height = attribute(slope, "nearness") if live else positions(slope)[:, 2]
    left, middle = (height[np.abs(vertex_uv(slope)[:, 0] - u) < 0.01].mean() for u in (0.4, 0.5))
    assert middle - left == pytest.approx(0.25 - 0.1, abs=0.06)
    assert bpy.ops.leadline.rebuild(result="DISPLACEMENT", use_live=False) == {"FINISHED"}
    image = slope.modifiers[0].texture.image
    rise = part("photos").read_map(image)
    assert rise[60, 90] - rise[60, 70] == pytest.approx(0.25 - 0.1, abs=0.06)


def test_a_copy_has_paint_of_its_own(slope):
    start()
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    bpy.ops.object.duplicate()
    copy = bpy.context.active_object
    assert copy.leadline.paint == slope.leadline.paint
    assert start() != slope.leadline.paint
    assert bpy.ops.leadline.clear_paint() == {"FINISHED"}
    assert slope.leadline.paint is not None
