# SPDX-License-Identifier: GPL-3.0-or-later
"""360° panoramas."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from check_results import attribute, depth_image, generate, positions, valid
from conftest import part


@pytest.fixture
def panorama(settings, tmp_path):
    """The inside of a box, each wall in a colour of its own with a pattern, as an equirectangular file of 256 × 128."""
    y, x = np.mgrid[0:128, 0:256]
    longitude, latitude = ((x + 0.5) / 256 - 0.5) * 2 * np.pi, (0.5 - (y + 0.5) / 128) * np.pi
    rays = np.stack([np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)], -1)
    ratio = np.abs(rays) / np.array([3.0, 1.5, 2.0])
    distance = 1 / ratio.max(axis=-1)
    points = rays * distance[..., None]
    checks = (np.floor(points * 2).sum(axis=-1) % 2)[..., None]
    colours = np.eye(3)[ratio.argmax(axis=-1)] * 0.6 + 0.2 + 0.2 * checks
    path = tmp_path / "box.png"
    path.write_bytes(part("leadline.files.png").encode_png((colours * 255).astype(np.uint8)))
    settings.filepath, settings.result, settings.long_edge = str(path), "PANORAMA", 64
    return settings, distance.astype(np.float32)


def closed(thing) -> bool:
    uses = np.zeros(len(thing.data.edges), int)
    corners = np.empty(len(thing.data.loops), np.int32)
    thing.data.loops.foreach_get("edge_index", corners)
    np.add.at(uses, corners, 1)
    return bool((uses == 2).all())


@pytest.mark.usefixtures("panorama")
def test_the_server_is_asked_for_each_tile_and_the_result_is_closed(monkeypatch):
    asked = []
    original = part("generate").Client.predict

    def predict(self, image, **options):
        asked.append(image.shape)
        return original(self, image, **options)

    monkeypatch.setattr(part("generate").Client, "predict", predict)
    thing = generate(near_m=1.0, far_m=4.0)
    assert asked == [(64, 64, 3)] * 18
    assert valid(thing)
    assert closed(thing)
    assert len(thing.data.vertices) == 64 * 31 + 2
    away = np.linalg.norm(positions(thing), axis=1)
    np.testing.assert_allclose(away, attribute(thing, "depth"), rtol=1e-4)
    assert 1 / 1.26 < away.min() < away.max() < 4 * 1.26
    assert bpy.context.scene.camera == thing.leadline.camera
    assert bpy.ops.leadline.rebuild(far_m=8.0) == {"FINISHED"}
    assert np.linalg.norm(positions(thing), axis=1).max() > 5


def test_a_panorama_of_own_depth_is_the_room_and_shows_the_photograph_in_place(panorama):
    settings, distance = panorama
    settings.own_depth, settings.long_edge = depth_image(distance), 128
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    thing = bpy.context.active_object
    assert closed(thing)
    where = positions(thing)
    np.testing.assert_allclose(np.abs(where).max(axis=0), [3, 1.5, 2], rtol=0.04)
    inside = (np.abs(where) / [3, 1.5, 2]).max(axis=1)
    assert np.quantile(np.abs(inside - 1), 0.9) < 0.03, "walls are flat"
    uv, corner = np.empty(len(thing.data.loops) * 2, np.float32), np.empty(len(thing.data.loops), np.int32)
    thing.data.uv_layers["UVMap"].uv.foreach_get("vector", uv)
    thing.data.loops.foreach_get("vertex_index", corner)
    longitude = np.arctan2(where[corner, 0], -where[corner, 2]) / (2 * np.pi) + 0.5
    off = np.abs(uv.reshape(-1, 2)[:, 0] - longitude)
    flat = np.abs(where[corner, 1]) < 1.4  # a pole has no longitude
    assert np.minimum(off, 1 - off)[flat].max() < 1e-4


def test_what_is_no_panorama_is_refused(settings):
    settings.result = "PANORAMA"
    with pytest.raises(RuntimeError, match="twice as wide as high"):
        bpy.ops.leadline.generate()
