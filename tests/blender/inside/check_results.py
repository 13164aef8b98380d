# SPDX-License-Identifier: GPL-3.0-or-later
"""Each result on a photograph: geometry, texture, attributes, material, modifier, camera."""

from __future__ import annotations

import math
import os

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from conftest import part
from mathutils import Vector

WIDTH, HEIGHT = 180, 120
FOCAL_35_MM = 35


def generate(**changes) -> bpy.types.Object:
    for name, value in changes.items():
        setattr(bpy.context.scene.leadline, name, value)
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    bpy.context.view_layer.update()
    return bpy.context.view_layer.objects.active


def positions(thing) -> np.ndarray:
    co = np.empty(len(thing.data.vertices) * 3, np.float32)
    thing.data.vertices.foreach_get("co", co)
    return co.reshape(-1, 3)


def vertex_uv(thing) -> np.ndarray:
    data = thing.data
    uv, corner = np.empty(len(data.loops) * 2, np.float32), np.empty(len(data.loops), np.int32)
    data.uv_layers["UVMap"].uv.foreach_get("vector", uv)
    data.loops.foreach_get("vertex_index", corner)
    result = np.empty((len(data.vertices), 2), np.float32)
    result[corner] = uv.reshape(-1, 2)
    np.testing.assert_array_equal(result[corner], uv.reshape(-1, 2), "corners of one vertex differ in UV")
    return result


def attribute(thing, name) -> np.ndarray:
    values = np.empty(len(thing.data.vertices), np.float32)
    thing.data.attributes[name].data.foreach_get("value", values)
    return values


def evaluated_positions(thing) -> np.ndarray:
    bpy.context.view_layer.update()
    copy = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = copy.to_mesh()
    co = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", co)
    copy.to_mesh_clear()
    return co.reshape(-1, 3)


def valid(thing) -> bool:
    return not thing.data.validate(verbose=False)


def test_relief(settings):
    thing = generate(result="RELIEF", width_m=3.0, height_m=0.5, use_cut=False)
    assert len(thing.data.vertices) == 91 * 61
    assert len(thing.data.polygons) == 90 * 60
    assert valid(thing)
    np.testing.assert_allclose(np.ptp(positions(thing), axis=0), [3.0, 2.0, 0.5], atol=0.01)
    # Upright in front of the viewer: as wide as x, as high as z.
    np.testing.assert_allclose(thing.dimensions, [3.0, 2.0, 0.5], atol=0.01)
    np.testing.assert_allclose(thing.matrix_world @ Vector((0, 1, 0)), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(vertex_uv(thing), positions(thing)[:, :2] / [3, 2] + 0.5, atol=1e-5)
    assert not thing.modifiers
    assert all(polygon.use_smooth for polygon in thing.data.polygons)


def test_displacement_is_a_modifier_on_a_flat_grid_and_gives_the_relief(settings):
    flat = generate(result="DISPLACEMENT", width_m=3.0, height_m=0.5)
    assert len(flat.data.vertices) == 91 * 61
    assert np.ptp(positions(flat)[:, 2]) == 0
    modifier = flat.modifiers[0]
    assert modifier.type == "DISPLACE"
    assert modifier.strength == pytest.approx(0.5)
    assert modifier.mid_level == 0
    image = modifier.texture.image
    assert image.is_float
    assert image.colorspace_settings.name == "Non-Color"
    risen = evaluated_positions(flat)
    modifier.strength = 1.0
    assert np.ptp(evaluated_positions(flat)[:, 2]) == pytest.approx(2 * np.ptp(risen[:, 2]), rel=1e-3)
    relief = generate(result="RELIEF", height_m=0.5, use_cut=False, update_existing=False)
    assert relief != flat
    assert np.abs(positions(relief)[:, 2] - risen[:, 2]).mean() < 0.02, "the modifier and the relief disagree"


def test_scene_with_its_camera(settings):
    thing = generate(result="PERSPECTIVE", use_cut=False, near_m=2.0, far_m=9.0)
    assert len(thing.data.vertices) == 91 * 61
    assert valid(thing)
    depth = attribute(thing, "depth")
    assert 2.0 / 1.26 < depth.min() < depth.max() < 9.0 * 1.26
    np.testing.assert_allclose(np.percentile(depth, [2, 98]), [2, 9], rtol=0.3)
    camera = bpy.context.scene.camera
    assert camera == thing.leadline.camera
    diagonal = math.hypot(WIDTH, HEIGHT)
    assert camera.data.lens == pytest.approx(FOCAL_35_MM / 43.2666 * diagonal / WIDTH * 36, rel=1e-4)
    assert (bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y) == (WIDTH, HEIGHT)
    assert_camera_matches(thing)
    # Moved, turned: object and camera stay together.
    thing.location, thing.rotation_euler = (3, -2, 5), (0.3, 0.2, 1.0)
    assert_camera_matches(thing)


def assert_camera_matches(thing, tolerance_px: float = 0.5):
    bpy.context.view_layer.update()
    scene, camera = bpy.context.scene, thing.leadline.camera
    uv = vertex_uv(thing)
    for index in range(0, len(thing.data.vertices), 7):
        seen = world_to_camera_view(scene, camera, thing.matrix_world @ thing.data.vertices[index].co)
        assert abs(seen.x - uv[index, 0]) * WIDTH < tolerance_px
        assert abs(seen.y - uv[index, 1]) * HEIGHT < tolerance_px
        assert seen.z > 0


@pytest.mark.parametrize(
    ("changes", "lens"),
    [({"focal_from": "LENS", "lens_mm": 28.0}, 28.0), ({"focal_from": "FOV", "fov": math.radians(90)}, 18.0)],
)
def test_the_artist_s_own_lens(settings, changes, lens):
    thing = generate(result="PERSPECTIVE", **changes)
    assert thing.leadline.camera.data.lens == pytest.approx(lens, rel=1e-4)
    assert_camera_matches(thing)


def test_portrait_and_scene_units(settings, tmp_path):
    image = bpy.data.images.new("portrait", 60, 100)
    settings.source, settings.image = "IMAGE", image
    bpy.context.scene.unit_settings.scale_length = 0.01  # centimetres
    thing = generate(result="PERSPECTIVE", use_cut=False, near_m=2.0, far_m=4.0)
    assert 150 < -positions(thing)[:, 2].max() < 300, "the scene is not in centimetres"
    global WIDTH, HEIGHT
    before = WIDTH, HEIGHT
    try:
        WIDTH, HEIGHT = 60, 100
        assert_camera_matches(thing)
    finally:
        WIDTH, HEIGHT = before


def test_depth_and_uncertainty_are_kept_as_images_and_attributes(settings):
    thing = generate(result="PERSPECTIVE", use_cut=False, quality="CUSTOM", ensemble=3, steps=1)
    for name in ("depth", "uncertainty"):
        image = getattr(thing.leadline, name)
        assert image.is_float
        assert tuple(image.size) == (WIDTH, HEIGHT)
        assert image.colorspace_settings.name == "Non-Color"
        assert image.packed_file is not None
    stored = part("photos").read_map(thing.leadline.depth)
    assert stored.dtype == np.float32
    assert len(np.unique(stored)) > 5000, "the depth has been rounded"
    assert attribute(thing, "uncertainty").max() > 0
    inside = attribute(thing, "depth").reshape(61, 91)[30, 45]
    assert inside == pytest.approx(stored[59:61, 89:91].mean(), rel=0.05)


def test_material_shows_the_photograph_and_follows_the_choice(settings):
    thing = generate(shading="EMISSION")
    material = thing.data.materials[0]
    kinds = {node.bl_idname for node in material.node_tree.nodes}
    assert kinds == {"ShaderNodeTexImage", "ShaderNodeEmission", "ShaderNodeOutputMaterial"}
    texture = next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeTexImage")
    assert texture.image.filepath.endswith("street.jpg")
    assert generate(shading="PRINCIPLED").data.materials[0] == material
    assert "ShaderNodeBsdfPrincipled" in {n.bl_idname for n in material.node_tree.nodes}
    assert "ShaderNodeEmission" not in {n.bl_idname for n in material.node_tree.nodes}


def test_another_material_of_the_artist_is_left_alone(settings):
    thing = generate()
    mine = bpy.data.materials.new("mine")
    thing.data.materials[0] = mine
    assert generate(long_edge=50).data.materials[0] == mine


def test_again_changes_the_same_object(settings):
    first = generate(result="PERSPECTIVE")
    meshes = len(bpy.data.meshes)
    second = generate(result="RELIEF", long_edge=40)
    assert second == first
    assert len(bpy.data.meshes) == meshes
    assert len(first.data.vertices) <= 40 * 27
    third = generate(update_existing=False)
    assert third != first


def test_rebuilding_needs_no_server_and_changes_only_the_mesh(settings, preferences):
    thing = generate(result="PERSPECTIVE", use_cut=False)
    depth = thing.leadline.depth
    preferences.address = "tcp://127.0.0.1:1"
    assert bpy.ops.leadline.rebuild(result="PERSPECTIVE", long_edge=31, use_cut=False) == {"FINISHED"}
    assert len(thing.data.vertices) == 31 * 21
    assert thing.leadline.depth == depth
    assert bpy.ops.leadline.rebuild(result="DISPLACEMENT", long_edge=31) == {"FINISHED"}
    assert [m.type for m in thing.modifiers] == ["DISPLACE"]
    assert bpy.ops.leadline.rebuild(result="RELIEF", long_edge=31, use_cut=False, height_m=0.3) == {"FINISHED"}
    assert not thing.modifiers
    assert np.ptp(positions(thing)[:, 2]) == pytest.approx(0.3, abs=0.01)


def test_rebuilding_with_the_same_options_gives_the_same_vertices(settings):
    thing = generate(result="PERSPECTIVE", use_cut=False, near_m=2.0, far_m=9.0)
    before = positions(thing)
    assert bpy.ops.leadline.rebuild() == {"FINISHED"}
    np.testing.assert_allclose(positions(thing), before, rtol=0.02)


def test_cut_sky_and_adaptive(settings):
    whole = len(generate(result="PERSPECTIVE", use_cut=False, long_edge=0).data.polygons)
    assert whole == (WIDTH - 1) * (HEIGHT - 1)
    thing = generate(use_cut=True, cut=0.02)
    assert len(thing.data.polygons) < whole
    assert valid(thing)
    thing = generate(use_cut=False, remove_sky=True, sky_from=0.0)
    assert vertex_uv(thing)[:, 1].max() < 0.8, "the sky is still there"
    assert valid(thing)
    thing = generate(remove_sky=False, use_adaptive=True, target_faces=3000)
    assert 1000 < len(thing.data.polygons) <= 3000
    assert valid(thing)
    assert_camera_matches(thing)


def test_rendering_the_scene_through_its_camera_gives_the_photograph(settings, tmp_path):
    generate(result="PERSPECTIVE", use_cut=False, long_edge=0, near_m=2.0, far_m=9.0)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 8
    scene.cycles.use_denoising = False
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(tmp_path / "render.png")
    bpy.ops.render.render(write_still=True)
    photos = part("photos")
    rendered = photos.pixels_of(bpy.data.images.load(str(tmp_path / "render.png")))[..., :3]
    original = photos.pixels_of(bpy.data.images.load(os.environ["LEADLINE_TEST_PHOTO"], check_existing=True))[..., :3]
    similarity = ssim(rendered.mean(axis=2), original.mean(axis=2))
    print(f"SSIM {similarity:.4f}")
    assert similarity > 0.95
    assert ssim(np.roll(rendered, 2, axis=1).mean(axis=2), original.mean(axis=2)) < similarity - 0.05


def ssim(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Mean structural similarity of grey images in 0 to 255 (Wang et al. 2004, with a flat window)."""

    def blur(image: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            total = np.cumsum(np.insert(image, 0, 0, axis=axis), axis=axis)
            image = (
                np.take(total, range(window, total.shape[axis]), axis)
                - np.take(total, range(total.shape[axis] - window), axis)
            ) / window
        return image

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(score.mean())


@pytest.mark.parametrize("cut", [True, False])
def test_f12_gives_the_photograph_back_with_default_scene_settings(settings, photo, tmp_path, cut):
    """Blender as it starts: AgX, a cube at the origin, another camera."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    panel = bpy.context.scene.leadline
    panel.source, panel.filepath, panel.quality, panel.long_edge = "FILE", photo, "FAST", 0
    thing = generate(result="PERSPECTIVE", use_cut=cut)
    assert (thing.leadline.behind is not None) == cut, "what was cut is filled behind unless it is switched off"
    scene = bpy.context.scene
    assert scene.camera == thing.leadline.camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 16
    scene.render.filepath = str(tmp_path / "render.png")
    bpy.ops.render.render(write_still=True)
    pixels_of = part("photos").pixels_of
    rendered = pixels_of(bpy.data.images.load(scene.render.filepath))[..., :3].astype(int)
    original = pixels_of(thing.leadline.photo)[..., :3].astype(int)
    error = np.abs(rendered - original)
    print(f"MAE {error.mean():.2f}/255, median {np.median(error):.2f}")
    assert error.mean() <= 2.0


def test_a_new_object_is_not_put_into_what_is_there(settings, photo):
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    panel = bpy.context.scene.leadline
    panel.source, panel.filepath, panel.quality, panel.long_edge = "FILE", photo, "FAST", 50
    thing = generate(result="PERSPECTIVE")
    cube = bpy.data.objects["Cube"]
    assert cube.matrix_world.translation.length == 0, "what was there stays there"
    low, high = part("sight")._bounds([cube])
    assert not part("sight")._overlap((low, high), part("sight")._bounds([thing], origin=True))
    again = generate(result="PERSPECTIVE")
    assert again == thing


def test_a_lit_surface_leaves_the_view_transform_alone(settings):
    bpy.context.scene.view_settings.view_transform = "AgX"
    generate(result="PERSPECTIVE", shading="PRINCIPLED")
    assert bpy.context.scene.view_settings.view_transform == "AgX"
    generate(result="PERSPECTIVE", shading="EMISSION")
    assert bpy.context.scene.view_settings.view_transform == "Standard"


@pytest.mark.parametrize("match", [True, False])
def test_a_scene_without_a_camera_gets_the_matched_one(settings, match):
    thing = generate(result="PERSPECTIVE", match_render=match)
    assert bpy.context.scene.camera == thing.leadline.camera


def test_fill_behind_is_a_child_that_follows_the_options(settings):
    thing = generate(result="PERSPECTIVE", use_cut=True, fill_behind=True, near_m=1.5, far_m=9.0)
    behind = thing.leadline.behind
    assert behind.parent == thing
    assert valid(behind)
    assert behind.data.materials[0] != thing.data.materials[0]
    painted = part("materials").picture_of(behind.data.materials[0])
    assert tuple(painted.size) == (WIDTH, HEIGHT)
    images, objects = len(bpy.data.images), len(bpy.data.objects)
    assert bpy.ops.leadline.rebuild(near_m=2.0) == {"FINISHED"}
    assert thing.leadline.behind == behind
    assert (len(bpy.data.images), len(bpy.data.objects)) == (images, objects)
    assert bpy.ops.leadline.rebuild(fill_behind=False) == {"FINISHED"}
    assert thing.leadline.behind is None
    assert len(bpy.data.objects) == objects - 1


@pytest.mark.parametrize("move", ["DOLLY", "SLIDE", "ORBIT"])
def test_a_camera_move_starts_near_the_photograph_and_keeps_looking_at_it(settings, move):
    thing = generate(result="PERSPECTIVE", use_cut=False, near_m=2.0, far_m=9.0)
    matched = thing.leadline.camera
    assert bpy.ops.leadline.camera_move(move=move, frames=40) == {"FINISHED"}
    scene, camera = bpy.context.scene, bpy.context.scene.camera
    assert camera not in (None, matched)
    assert scene.frame_end - scene.frame_start == 39
    places, centre, upright = [], [], []
    middle = float(np.median(attribute(thing, "depth")))
    for frame in (1, 10, 20, 30, 40):
        scene.frame_set(frame)
        seen_from = matched.matrix_world.inverted() @ camera.matrix_world
        places.append(seen_from.translation)
        upright.append((seen_from.to_3x3() @ Vector((0, 1, 0))).y)
        seen = world_to_camera_view(scene, camera, matched.matrix_world @ Vector((0, 0, -middle)))
        centre.append((seen.x, seen.y))
    np.testing.assert_allclose(centre, 0.5, atol=0.03)
    assert min(upright) > 0.995, "the picture is turned"
    assert max((a - b).length for a in places for b in places) > 0.2
    assert max(place.length for place in places) < 1.5
    scene.frame_set(1)
    assert matched.matrix_world.translation.length < 1e-4 or matched.location.length == 0


def test_a_solid_relief_is_closed(settings):
    thing = generate(result="RELIEF", use_base=True, base_m=0.1, height_m=0.4, width_m=2.0)
    assert valid(thing)
    uses = np.zeros(len(thing.data.edges), int)
    for polygon in thing.data.polygons:
        for loop in polygon.loop_indices:
            uses[thing.data.loops[loop].edge_index] += 1
    assert (uses == 2).all()
    assert np.ptp(positions(thing)[:, 2]) == pytest.approx(0.5, abs=0.01)


def test_a_relief_is_whole_unless_asked(settings):
    whole = len(generate(result="RELIEF", use_cut=True, cut=0.02).data.polygons)
    assert whole == 90 * 60
    assert len(generate(result="RELIEF", use_cut=True, cut=0.02, cut_relief=True).data.polygons) < whole


def depth_image(values: np.ndarray) -> bpy.types.Image:
    return part("photos").write_map(values.astype(np.float32), "mine", None, 1)


def test_depth_of_one_s_own_needs_no_server(settings, preferences):
    preferences.address = "tcp://127.0.0.1:1"
    _, x = np.mgrid[0:60, 0:90]
    metres = (2.0 + x / 30).astype(np.float32)
    settings.own_depth, settings.result, settings.use_cut = depth_image(metres), "PERSPECTIVE", False
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    thing = bpy.context.active_object
    assert thing.leadline.metric
    uv = vertex_uv(thing)
    np.testing.assert_allclose(attribute(thing, "depth"), 2 + 3 * uv[:, 0], atol=0.05)
    assert_camera_matches(thing)
    settings.own_depth = depth_image(1 / metres)
    settings.near_m, settings.far_m = 2.0, 5.0
    assert bpy.ops.leadline.use_depth(meaning="NEAR_WHITE") == {"FINISHED"}
    assert bpy.context.active_object == thing
    np.testing.assert_allclose(attribute(thing, "depth"), 2 + 3 * vertex_uv(thing)[:, 0], atol=0.1)
    settings.own_depth = depth_image(-1 / metres)
    assert bpy.ops.leadline.use_depth(meaning="FAR_WHITE") == {"FINISHED"}
    np.testing.assert_allclose(attribute(thing, "depth"), 2 + 3 * vertex_uv(thing)[:, 0], atol=0.1)


def test_an_image_that_is_no_depth_is_refused(settings):
    settings.own_depth = depth_image(np.zeros((60, 90)))
    with pytest.raises(RuntimeError, match="no depth"):
        bpy.ops.leadline.use_depth(meaning="METRES")
    settings.own_depth = depth_image(np.tile(np.arange(60.0), (60, 1)) + 1)
    with pytest.raises(RuntimeError, match="for a photograph"):
        bpy.ops.leadline.use_depth(meaning="METRES")


def test_edges_are_sharpened_as_the_panel_says(settings, monkeypatch):
    done, client = [], part("generate").Client
    original = client.predict

    def predict(self, image, **options):
        prediction = original(self, image, **options)
        done.append(prediction.meta.get("detail", "off"))
        return prediction

    monkeypatch.setattr(client, "predict", predict)
    for detail in ("EDGES", "OFF", "TILES"):
        generate(result="PERSPECTIVE", use_cut=False, detail=detail)
    assert done == ["edges", "off", "tiles"]
