"""Normals and occlusion of surfaces whose answer is known."""

from __future__ import annotations

import numpy as np

from leadline.geometry import Pinhole, ambient_occlusion, normal_map


def plane(camera: Pinhole, normal: tuple[float, float, float], distance: float) -> np.ndarray:
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    return distance / (camera.rays(x, y) @ -np.asarray(normal))


def test_normals_of_planes_are_exact_also_beside_an_edge():
    camera = Pinhole(120, 90, 110.0)
    towards = np.array([0.3, 0.4, np.sqrt(0.75)])
    depth = plane(camera, tuple(towards), 3.0)
    depth[:, 60:] = 1.2
    normals = normal_map(depth, camera)
    np.testing.assert_allclose(normals[:, :60], np.broadcast_to(towards, (90, 60, 3)), atol=1e-4)
    np.testing.assert_allclose(normals[:, 60:], np.broadcast_to((0, 0, 1), (90, 60, 3)), atol=1e-4)
    smaller = normal_map(depth[::2, ::2], camera)  # a map of another size, the same picture
    np.testing.assert_allclose(smaller[5:-5, 5:25], np.broadcast_to(towards, (35, 20, 3)), atol=0.02)


def test_a_corner_is_darker_than_a_plane():
    camera = Pinhole(160, 120, 150.0)
    flat = ambient_occlusion(plane(camera, (0, 0, 1), 3.0), camera, 0.5)
    assert flat.min() > 0.99
    floor, wall = plane(camera, (0, 1, 0), 1.0), plane(camera, (0, 0, 1), 4.0)
    floor[floor <= 0] = np.inf
    corner = ambient_occlusion(np.minimum(floor, wall), camera, 0.5)
    row = int(np.argmax(floor[:, 80] < 4.0))
    assert corner[row - 2 : row + 1, 80].max() < 0.82
    assert corner[row + 10, 80] > 0.98
    assert corner[5, 80] > 0.98
    assert ((corner >= 0) & (corner <= 1)).all()
