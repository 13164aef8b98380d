# SPDX-License-Identifier: GPL-3.0-or-later
"""Every quality with every model that the server reports and every kind of result: all of them run and say what they made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import part

QUALITIES = ("FAST", "BALANCED", "FINE")


def generated(**options) -> Callable[[Path, str], None]:
    def make(folder: Path, photo: str) -> None:
        panel = bpy.context.scene.leadline
        for name, value in options.items():
            setattr(panel, name, value)
        assert bpy.ops.leadline.generate() == {"FINISHED"}
        thing = bpy.context.active_object
        assert len(thing.data.polygons) > 100
        for name, value in options.items():
            assert getattr(thing.leadline, name) == (pytest.approx(value) if isinstance(value, float) else value)
        wanted = panel.quality == "FINE" and panel.result != "PANORAMA"
        assert (thing.leadline.uncertainty is not None) == wanted
        # What it is made of is enough to build it again.
        before = len(thing.data.vertices)
        assert bpy.ops.leadline.rebuild() == {"FINISHED"}
        assert abs(len(thing.data.vertices) - before) <= 0.02 * before

    return make


def painted(folder: Path, photo: str) -> None:
    generated(result="PERSPECTIVE", use_cut=False)(folder, photo)
    thing = bpy.context.active_object
    assert bpy.ops.leadline.paint(brush="REMOVE") == {"FINISHED"}
    image = thing.leadline.paint
    width, height = image.size
    blue = np.tile(np.array([0.0, 0.25, 1.0, 1.0], np.float32), (height, width, 1))
    blue[: height // 2] = 0
    image.pixels.foreach_set(blue.ravel())
    before = len(thing.data.polygons)
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    assert 0.4 < len(thing.data.polygons) / before < 0.6
    assert bpy.ops.leadline.clear_paint() == {"FINISHED"}
    assert len(thing.data.polygons) == before


def panorama(folder: Path, photo: str) -> None:
    y, x = np.mgrid[0:64, 0:128]
    colours = np.stack([x * 2, y * 4, (x // 8 + y // 8) % 2 * 200], axis=-1).astype(np.uint8)
    path = folder / "around.png"
    path.write_bytes(part("leadline.files.png").encode_png(colours))
    panel = bpy.context.scene.leadline
    panel.filepath = str(path)
    generated(result="PANORAMA", long_edge=48)(folder, photo)


def film(result: str) -> Callable[[Path, str], None]:
    def make(folder: Path, photo: str) -> None:
        for number in (1, 2):
            shutil.copy(photo, folder / f"shot_{number:03d}.jpg")
        panel = bpy.context.scene.leadline
        panel.sequence_path, panel.sequence_result = str(folder / "shot_001.jpg"), result
        assert bpy.ops.leadline.sequence() == {"FINISHED"}
        assert len(list((folder / "shot_001 depth").glob("*.exr"))) == 2
        assert bpy.context.active_object.leadline.result == result

    return make


def folder_of(result: str) -> Callable[[Path, str], None]:
    def make(folder: Path, photo: str) -> None:
        where = folder / "photographs"
        where.mkdir()
        shutil.copy(photo, where / "one.jpg")
        panel = bpy.context.scene.leadline
        panel.batch_folder, panel.batch_result = str(where), result
        assert bpy.ops.leadline.batch() == {"FINISHED"}
        assert part("runtime").message.text.startswith("1 of 1")
        if result == "MAPS":
            assert len(list((where / "Leadline maps").iterdir())) == 5
        else:
            assert bpy.context.active_object.leadline.photo.name == "one.jpg"

    return make


KINDS: dict[str, Callable[[Path, str], None]] = {
    "scene": generated(result="PERSPECTIVE"),
    "scene, filled behind": generated(result="PERSPECTIVE", use_cut=True, fill_behind=True, cut=0.02),
    "scene, adaptive, without sky": generated(
        result="PERSPECTIVE", use_adaptive=True, target_faces=900, remove_sky=True
    ),
    "relief": generated(result="RELIEF"),
    "relief, solid": generated(result="RELIEF", use_base=True),
    "relief, live": generated(result="RELIEF", use_live=True),
    "displacement": generated(result="DISPLACEMENT"),
    "displacement, live": generated(result="DISPLACEMENT", use_live=True),
    "panorama": panorama,
    "painted scene": painted,
    "film as displacement": film("DISPLACEMENT"),
    "film as scene": film("PERSPECTIVE"),
    "folder of objects": folder_of("OBJECTS"),
    "folder of maps": folder_of("MAPS"),
}


def models(gives: str) -> list:
    """As the server reports them."""
    reported = part("runtime").link.hello(part("chosen").server_settings(bpy.context)).models
    return [model for model in reported if (model.output == "normals") == (gives == "normals")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_every_kind_with_every_quality_and_model(settings, photo, tmp_path, quality, kind):
    depth_models = models("depth")
    assert {model.max_steps for model in depth_models} > {1}, "models of one kind only"
    for model in depth_models:
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        panel = bpy.context.scene.leadline
        panel.source, panel.filepath, panel.long_edge = "FILE", photo, 91
        panel.model, panel.quality = model.name, quality
        folder = tmp_path / model.name
        folder.mkdir()
        KINDS[kind](folder, photo)


@pytest.mark.parametrize("quality", QUALITIES)
def test_normal_maps_with_every_quality_and_model(settings, quality):
    if quality == "FINE" and bpy.app.version >= (4, 3):
        pytest.skip("four looks of all steps take half a minute; the Blender does not matter to them")
    normals_models = models("normals")
    assert normals_models
    settings.quality = quality
    for model in normals_models:
        settings.normals_model = model.name
        assert bpy.ops.leadline.normal_map() == {"FINISHED"}
        assert "a normal map of 180×120" in part("runtime").message.text
