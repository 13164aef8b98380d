# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as files."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from check_results import depth_image
from conftest import part


def loaded(path) -> np.ndarray:
    """float (H, W, channels), row 0 at the top, as stored."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    values = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], image.channels)[::-1]


def test_maps_of_a_scene_as_files(settings, tmp_path):
    _, x = np.mgrid[0:60, 0:90]
    metres = (3.0 + 0.01 * x).astype(np.float32)
    settings.own_depth, settings.result = depth_image(metres), "PERSPECTIVE"
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    settings.maps_folder = str(tmp_path / "maps")
    assert bpy.ops.leadline.export_maps() == {"FINISHED"}
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "street depth.exr", "street depth.png", "street normal.exr", "street normal.png", "street occlusion.png",
    ]  # fmt: skip
    np.testing.assert_allclose(loaded(tmp_path / "maps" / "street depth.exr")[..., 0], metres, rtol=1e-5)
    normals = loaded(tmp_path / "maps" / "street normal.exr")[..., :3]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-3)
    assert (normals[..., 2] > 0).all(), "towards the viewer"
    assert (normals[..., 0] > 0).all(), "the right is farther, so the surface looks to the right"
    picture = loaded(tmp_path / "maps" / "street normal.png")[..., :3]
    np.testing.assert_allclose(2 * picture - 1, normals, atol=0.02)
    near = loaded(tmp_path / "maps" / "street depth.png")[..., 0]
    assert near[:, 0].mean() > 0.95
    assert near[:, -1].mean() < 0.05
    assert loaded(tmp_path / "maps" / "street occlusion.png")[..., 0].min() > 0.9


def test_maps_need_a_folder(settings):
    image = bpy.data.images.new("no file", 90, 60)
    settings.source, settings.image = "IMAGE", image
    settings.own_depth = depth_image(np.tile(np.linspace(2, 3, 90), (60, 1)))
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    with pytest.raises(RuntimeError, match="folder"):
        bpy.ops.leadline.export_maps()
    assert part("runtime").message.kind == "ERROR"


def test_both_eyes_see_the_scene_from_their_own_place(settings, tmp_path):
    _, x = np.mgrid[0:60, 0:90]
    settings.own_depth, settings.result, settings.use_cut = depth_image(2 + x / 45), "PERSPECTIVE", False
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    scene = bpy.context.scene
    assert bpy.ops.leadline.stereo_pair(eyes_m=0.1) == {"FINISHED"}
    scene.render.engine, scene.cycles.samples, scene.render.resolution_percentage = "CYCLES", 1, 50
    scene.render.image_settings.file_format, scene.render.filepath = "PNG", str(tmp_path / "pair.png")
    bpy.ops.render.render(write_still=True)
    pair = loaded(tmp_path / "pair.png")[..., :3]
    height, width = pair.shape[:2]
    assert (width, height) == (2 * scene.render.resolution_x // 2, scene.render.resolution_y // 2)
    left, right = pair[:, : width // 2], pair[:, width // 2 :]
    assert np.abs(left - right).mean() > 0.01, "two eyes see the same"
    assert np.abs(left.mean() - right.mean()) < 0.05
