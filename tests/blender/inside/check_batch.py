# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of photographs."""

from __future__ import annotations

import shutil

import bpy
import pytest
from check_maps import loaded
from conftest import part


@pytest.fixture
def folder(settings, photo, tmp_path):
    """Three photographs, of which the second is damaged, and something that is none."""
    where = tmp_path / "holiday"
    where.mkdir()
    for name in ("2.jpg", "10.jpg"):
        shutil.copy(photo, where / name)
    (where / "9.jpg").write_bytes(b"this is no photograph")
    (where / "notes.txt").write_text("nor is this")
    settings.batch_folder, settings.long_edge = str(where), 31
    return where


def names() -> list[str]:
    return [thing.leadline.photo.name for thing in bpy.data.objects if thing.leadline.photo is not None]


def test_an_object_for_each_and_a_word_about_what_failed(settings, folder):
    assert bpy.ops.leadline.batch() == {"FINISHED"}
    assert sorted(names()) == ["10.jpg", "2.jpg"]
    text = part("runtime").message.text
    assert "2 of 3" in text
    assert "9.jpg" in text
    one, other = (thing for thing in bpy.data.objects if thing.leadline.photo is not None)
    bounds = part("sight")._bounds
    bpy.context.view_layer.update()
    assert not part("sight")._overlap(bounds([one]), bounds([other])), "they stand beside each other"
    assert bpy.ops.leadline.batch() == {"FINISHED"}
    assert len(names()) == 2, "what is there is updated"


def test_maps_for_each_leave_the_scene_alone_and_go_on_where_they_stopped(settings, folder):
    settings.batch_result = "MAPS"
    objects, images = len(bpy.data.objects), len(bpy.data.images)
    assert bpy.ops.leadline.batch() == {"FINISHED"}
    maps = folder / "Leadline maps"
    written = sorted(path.name for path in maps.iterdir())
    assert len(written) == 10
    assert {"2 depth.exr", "10 normal.png"} <= set(written)
    assert loaded(maps / "10 depth.exr").shape[:2] == (120, 180)
    assert (len(bpy.data.objects), len(bpy.data.images) - 1) == (objects, images), "only what this check loaded"
    (maps / "2 occlusion.png").unlink()  # the last of a set
    assert bpy.ops.leadline.batch() == {"FINISHED"}
    assert "1 of 3" in part("runtime").message.text
    assert "1 had their maps already" in part("runtime").message.text
    assert (maps / "2 occlusion.png").exists()


def test_stopping_keeps_what_is_done(settings, folder, monkeypatch):
    module = part("batch_ops")
    original = module.shape

    def shape(*arguments):
        if names():
            part("runtime").task.cancel()
        return original(*arguments)

    monkeypatch.setattr(module, "shape", shape)
    assert bpy.ops.leadline.batch() == {"FINISHED"}
    assert names() == ["2.jpg"]
    assert part("runtime").message.text.startswith("Stopped: 1 of 3 photographs; not 9.jpg: ")


def test_a_server_that_is_gone_ends_it_at_once(settings, folder, preferences):
    preferences.address = "tcp://127.0.0.1:1"
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1:1"):
        bpy.ops.leadline.batch()
    assert not names()


def test_no_folder_and_an_empty_one(settings, tmp_path):
    with pytest.raises(RuntimeError, match="Choose a folder"):
        bpy.ops.leadline.batch()
    settings.batch_folder = str(tmp_path)
    with pytest.raises(RuntimeError, match="no photographs"):
        bpy.ops.leadline.batch()
