"""Panoramas: tiles, one scale for all, a closed surface; against rooms of the scene renderer, whose depth is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leadline.depth.spaces import Space
from leadline.geometry import Tile, cut_out, panorama_distance, panorama_mesh, tiles
from leadline.geometry.sphere import directions
from leadline.scenes.camera import Viewpoint
from leadline.scenes.cast import Solids
from leadline.scenes.layouts import draw
from leadline.scenes.render import cast_picture

SIZE, HEIGHT = 60, 96


@pytest.fixture(scope="module")
def room():
    scene = draw("room", np.random.default_rng(3), 1.0)
    return scene, Solids.of(scene.world.freeze(), torch.device("cpu"))


def depth_of(room, yaw: float, pitch: float, degrees: float, size: int) -> np.ndarray:
    """Exact z-depth (size, size) of a camera in the room; the renderer counts angles to the left."""
    scene, solids = room
    scene.camera = Viewpoint(scene.camera.eye, -np.radians(yaw), np.radians(pitch), 0.0, np.radians(degrees))
    return np.minimum(cast_picture(scene, solids, size, size).depth.numpy(), 30.0).astype(np.float64)


@pytest.fixture(scope="module")
def truth(room) -> np.ndarray:
    """Distance (HEIGHT, 2 HEIGHT) from six faces of a cube, looked up without any of the code under test."""
    rays = np.empty((HEIGHT, 2 * HEIGHT, 3))
    longitude = ((np.arange(2 * HEIGHT) + 0.5) / (2 * HEIGHT) - 0.5) * 2 * np.pi
    latitude = ((0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi)[:, None]
    rays[..., 0], rays[..., 2] = np.cos(latitude) * np.sin(longitude), -np.cos(latitude) * np.cos(longitude)
    rays[..., 1] = np.sin(latitude)
    distance = np.zeros(rays.shape[:2])
    size = 160
    # yaw, pitch, and which of the ray's numbers go right, up and forward on that face
    faces = [
        (0, 0, rays[..., 0], rays[..., 1], -rays[..., 2]),
        (90, 0, rays[..., 2], rays[..., 1], rays[..., 0]),
        (180, 0, -rays[..., 0], rays[..., 1], rays[..., 2]),
        (270, 0, -rays[..., 2], rays[..., 1], -rays[..., 0]),
        (0, 90, rays[..., 0], rays[..., 2], rays[..., 1]),
        (0, -90, rays[..., 0], -rays[..., 2], -rays[..., 1]),
    ]
    for yaw, pitch, right, up, forward in faces:
        mine = (forward >= np.abs(right) - 1e-9) & (forward >= np.abs(up) - 1e-9)
        depth = depth_of(room, yaw, pitch, 90, size)
        column = ((right[mine] / forward[mine] + 1) / 2 * size).astype(int).clip(0, size - 1)
        row = ((1 - up[mine] / forward[mine]) / 2 * size).astype(int).clip(0, size - 1)
        distance[mine] = depth[row, column] / forward[mine]
    assert (distance > 0).all()
    return distance


@pytest.fixture(scope="module")
def exact(room) -> list[np.ndarray]:
    return [depth_of(room, tile.yaw, tile.pitch, 90, SIZE) for tile in tiles(SIZE)]


def test_tiles_see_everything_and_most_of_it_twice():
    rays = directions(180, 360)
    seen = sum((tile.see(rays)[2] > 0).astype(int) for tile in tiles(100))
    assert seen.min() >= 1
    area = np.cos((np.arange(180) + 0.5) / 180 * np.pi - np.pi / 2)[:, None]
    assert (area * (seen >= 2)).sum() / (area.sum() * 360) > 0.8


def test_metric_tiles_need_no_fit(exact, truth):
    found = panorama_distance(exact, tiles(SIZE), Space.DEPTH, True, (1, 2), HEIGHT)
    off = np.abs(found - truth) / truth
    assert np.median(off) < 0.01
    assert np.quantile(off, 0.9) < 0.06


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_tiles_of_unknown_scale_and_shift_come_onto_one(exact, truth, space, noise):
    rng = np.random.default_rng(1)
    maps = []
    for depth in exact:
        # Bumps that differ from tile to tile, as networks draw them.
        bumps = np.kron(rng.normal(size=(6, 6)), np.ones((SIZE // 6, SIZE // 6))) * noise
        values = space.from_depth(depth * np.exp(bumps))
        maps.append((rng.uniform(0.4, 2.5) * values / np.std(values) + rng.uniform(-2, 2)).astype(np.float32))
    range_m = tuple(np.percentile(truth, [1, 99]))
    found = panorama_distance(maps, tiles(SIZE), space, False, range_m, HEIGHT)
    off = np.abs(found - truth) / truth
    print(f"{space.value}, bumps of {noise:.0%}: median {np.median(off):.3f}, 90 % within {np.quantile(off, 0.9):.3f}")
    assert np.median(off) < (0.02 if noise == 0 else 0.1)
    assert np.quantile(off, 0.9) < (0.08 if noise == 0 else 0.3)


def test_flat_maps_are_refused():
    with pytest.raises(ValueError, match="flat"):
        panorama_distance([np.ones((8, 8))] * 18, tiles(8), Space.DISPARITY, False, (1, 2), 16)
    with pytest.raises(ValueError, match="one map for each tile"):
        panorama_distance([np.ones((8, 8))], tiles(8), Space.DISPARITY, False, (1, 2), 16)


def test_a_tile_shows_what_lies_in_its_direction():
    rays = directions(256, 512)
    panorama = ((rays + 1) * 127).astype(np.uint8)  # each pixel says where it lies
    for tile in (Tile(0, 0, 33), Tile(90, 0, 33), Tile(180, 30, 33), Tile(-60, -90, 33)):
        middle = cut_out(panorama, tile)[16, 16] / 127.0 - 1
        np.testing.assert_allclose(middle, -tile.axes()[:, 2], atol=0.05)
        seen = cut_out(panorama, tile)[16, 30] / 127.0 - 1
        assert seen @ tile.axes()[:, 0] > 0.4, "the right of the tile is to the right"


def test_the_surface_is_closed_seen_from_inside_and_textured(truth):
    mesh, same = panorama_mesh(truth.astype(np.float32), 64)
    faces = same[mesh.faces]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all(), "closed: every edge has two triangles"
    assert len(np.unique(faces)) - len(uses) + len(faces) == 2, "one piece without handles"
    np.testing.assert_array_equal(mesh.vertices[same], mesh.vertices)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = -(normals * corners.mean(axis=1)).sum(axis=1)
    assert (inwards > 0).all()
    away = np.linalg.norm(mesh.vertices, axis=1)
    np.testing.assert_allclose(away, mesh.depth, rtol=1e-4)
    middle = np.abs(mesh.uv - [0.5, 0.5]).sum(axis=1).argmin()
    np.testing.assert_allclose(mesh.vertices[middle] / away[middle], [0, 0, -1], atol=1e-3)
    right = np.abs(mesh.uv - [0.75, 0.5]).sum(axis=1).argmin()
    np.testing.assert_allclose(mesh.vertices[right] / away[right], [1, 0, 0], atol=1e-3)
