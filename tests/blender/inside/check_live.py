# SPDX-License-Identifier: GPL-3.0-or-later
"""Relief and displacement as Geometry Nodes: the inputs act as the formula says, and baking gives what was seen."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from check_results import attribute, depth_image, positions, valid, vertex_uv
from conftest import part


@pytest.fixture
def steps(settings):
    """Depth with a slope, a box in front of it and a farther one; no model is asked."""
    y, x = np.mgrid[0:120, 0:180]
    depth = 4.0 + 0.004 * x + 0.006 * y
    depth[20:60, 40:100] = 2.0
    depth[80:110, 120:160] = 3.6
    settings.own_depth, settings.long_edge, settings.use_live = depth_image(depth), 0, True
    settings.width_m, settings.height_m = 2.0, 0.4
    return settings


def made(settings, **changes) -> bpy.types.Object:
    for name, value in changes.items():
        setattr(settings, name, value)
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    return bpy.context.active_object


def evaluated(thing) -> tuple[np.ndarray, int, np.ndarray]:
    """Vertices, the number of faces, and the attribute `depth` of what is seen."""
    bpy.context.view_layer.update()
    copy = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = copy.to_mesh()
    co, depth = np.empty(len(mesh.vertices) * 3, np.float32), np.empty(len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", co)
    mesh.attributes["depth"].data.foreach_get("value", depth)
    faces = len(mesh.polygons)
    copy.to_mesh_clear()
    return co.reshape(-1, 3), faces, depth


def test_a_live_relief_is_the_relief(steps):
    live = made(steps, result="RELIEF", cut_relief=True, cut=0.2, update_existing=False)
    assert not positions(live)[:, 2].any(), "the mesh itself is flat"
    seen, faces, depth = evaluated(live)
    plain = made(steps, use_live=False)
    assert plain != live
    assert not plain.modifiers
    assert faces == len(plain.data.polygons) < 119 * 179
    np.testing.assert_allclose(seen, positions(plain), atol=1e-5)
    np.testing.assert_allclose(depth, attribute(plain, "depth"), atol=1e-5)


@pytest.mark.parametrize("result", ["RELIEF", "DISPLACEMENT"])
def test_the_inputs_act_as_the_formula_says(steps, result):
    thing = made(steps, result=result)
    live = part("live")
    nearness, flat = attribute(thing, "nearness"), positions(thing)
    # An image is sampled between its pixels, and the mesh beyond their centres: the same but for rounding.
    tolerance = 1e-5 if result == "RELIEF" else 2e-3
    for strength, near, far in ((0.4, 1.0, 0.0), (1.5, 1.0, 0.0), (1.0, 0.8, 0.1), (1.0, 0.6, 0.3)):
        live.write(thing, "Strength", strength)
        live.write(thing, "Nearest", near)
        live.write(thing, "Farthest", far)
        seen, faces, depth = evaluated(thing)
        assert faces == 119 * 179, "nothing is cut unless it is asked for"
        height = strength * np.clip((nearness - far) / (near - far), 0, 1)
        off = np.abs(seen[:, 2] - height)
        assert np.median(off) < tolerance * strength
        assert np.quantile(off, 0.9) < tolerance * strength / (near - far)
        np.testing.assert_allclose(seen[:, :2], flat[:, :2], atol=1e-6)
        np.testing.assert_allclose(depth, seen[:, 2], atol=1e-6)
    jump = np.empty(len(thing.data.polygons), np.float32)
    thing.data.attributes["jump"].data.foreach_get("value", jump)
    counts = []
    for cut in (1.0, 0.3, 0.08, 0.02):
        live.write(thing, "From Jump Of", cut)
        _, faces, _ = evaluated(thing)
        assert faces == np.count_nonzero(jump <= np.float32(cut))
        counts.append(faces)
    assert counts[0] > counts[1] > counts[2], "the near box opens first, then the farther one"


@pytest.mark.parametrize("result", ["RELIEF", "DISPLACEMENT"])
def test_baking_gives_what_was_seen(steps, result):
    thing = made(steps, result=result, cut_relief=True, cut=0.2)
    live = part("live")
    live.write(thing, "Strength", 0.9)
    live.write(thing, "Farthest", 0.2)
    mine = thing.modifiers.new("mine", "SUBSURF")
    mine.levels = 0
    seen, faces, depth = evaluated(thing)
    assert bpy.ops.leadline.bake() == {"FINISHED"}
    assert [modifier.name for modifier in thing.modifiers] == ["mine"]
    np.testing.assert_array_equal(positions(thing), seen)
    assert len(thing.data.polygons) == faces
    np.testing.assert_array_equal(attribute(thing, "depth"), depth)
    assert valid(thing)
    assert vertex_uv(thing).max() == pytest.approx(1)
    assert thing.data.materials[0] is not None
    assert thing.leadline.height_m == pytest.approx(0.9)
    assert not bpy.ops.leadline.bake.poll()


def test_a_live_displacement_follows_what_is_painted_on_its_image(steps):
    thing = made(steps, result="DISPLACEMENT")
    image = part("live").image_of(thing)
    bpy.ops.object.mode_set(mode="TEXTURE_PAINT")
    part("photos").write_map(np.full((120, 180), 0.5, np.float32), "x", image, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    np.testing.assert_allclose(evaluated(thing)[0][:, 2], 0.2, atol=1e-4)


def test_building_again_keeps_the_levels_and_a_copy_its_own_image(steps):
    thing = made(steps, result="DISPLACEMENT")
    live = part("live")
    live.write(thing, "Farthest", 0.3)
    assert bpy.ops.leadline.rebuild(long_edge=50) == {"FINISHED"}
    assert live.read(thing, "Farthest") == pytest.approx(0.3)
    images = len(bpy.data.images)
    bpy.ops.object.duplicate()
    copy = bpy.context.active_object
    assert bpy.ops.leadline.rebuild(height_m=0.7) == {"FINISHED"}
    assert live.image_of(copy) != live.image_of(thing)
    assert len(bpy.data.images) == images + 2, "its own depth and its own nearness"
    assert live.read(copy, "Strength") == pytest.approx(0.7)
    assert live.read(thing, "Strength") == pytest.approx(0.4)
    assert bpy.ops.leadline.rebuild(use_live=False) == {"FINISHED"}
    assert [modifier.type for modifier in copy.modifiers] == ["DISPLACE"]
    assert bpy.ops.leadline.rebuild(result="PERSPECTIVE") == {"FINISHED"}
    assert not copy.modifiers
    assert len(bpy.data.node_groups) == 1, "one group for all"


def test_the_sky_stays_out_of_a_live_relief(steps):
    whole = made(steps, result="RELIEF")
    faces = evaluated(whole)[1]
    assert bpy.ops.leadline.rebuild(remove_sky=True, sky_from=0.0) == {"FINISHED"}
    assert evaluated(whole)[1] < faces
