"""Floors and walls that are marked come out flat and at right angles, whatever depth range was assumed."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.depth.spaces import Space
from leadline.geometry import Flat, Pinhole, assumed_depth, flat_around, straighten

FLOOR, LEFT, BACK = 2, 0, 4


def turned_room(camera: Pinhole, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inside a box, with the camera turned by so many radians: depth (H, W), the number of the wall that each pixel
    sees (twice its axis, plus one on the positive side), and the camera's rotation."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = camera.rays(x, y)
    (cy, sy), (cp, sp) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rays = rays @ turn.T
    with np.errstate(divide="ignore"):
        distance = np.where(rays > 0, [2.5, 1.4, 2.0] / rays, [-2.2, -1.4, -5.0] / rays)
    axis = distance.argmin(axis=-1)
    positive = np.take_along_axis(rays, axis[..., None], -1)[..., 0] > 0
    return distance.min(axis=-1), 2 * axis + positive, turn


def middle_of(mask: np.ndarray) -> tuple[int, int]:
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return tuple(int(i) for i in np.unravel_index(inside.argmax(), mask.shape))


def degrees_between(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(abs(one @ other), 0, 1))))


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize(
    ("focal", "yaw", "pitch", "bumps"), [(0.7, 0.0, -0.1, 0.0), (1.2, 0.3, -0.25, 0.005), (0.7, 0.6, -0.4, 0.005)]
)
def test_floor_and_back_wall_are_straight_once_marked(space, focal, yaw, pitch, bumps):
    """Bumps of half a percent and softened edges, as networks make them."""
    from scipy import ndimage

    camera = Pinhole(400, 300, 400 * focal)
    depth, wall, turn = turned_room(camera, yaw, pitch)
    if bumps:
        noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=depth.shape), 8)
        depth = ndimage.gaussian_filter(depth, 2) * np.exp(noise * bumps / noise.std())
    # A map in arbitrary units: only the order of near and far is left.
    values = (3 + 2 * space.from_depth(depth)).astype(np.float32)
    assumed = assumed_depth(values, space, 1.5, 6.0)
    flats = [
        Flat(flat_around(assumed, camera, *middle_of(wall == number)), axis) for axis, number in ((0, FLOOR), (1, BACK))
    ]
    found = straighten(values, space, camera, flats)
    tilts = [degrees_between(found.normals[0], turn[1]), degrees_between(found.normals[1], turn[2])]
    print(f"{space.value}: tilted by {tilts[0]:.1f} and {tilts[1]:.1f} degrees, ratio {found.ratio:.2f}")
    assert max(tilts) <= 3.0
    assert found.off_degrees < 1.0


def test_two_walls_that_are_parallel_say_it_too():
    camera = Pinhole(400, 300, 240)
    depth, wall, _ = turned_room(camera, 0.2, -0.1)
    values = Space.DEPTH.from_depth(depth)
    assumed = assumed_depth(values, Space.DEPTH, 1.5, 6.0)
    flats = [Flat(flat_around(assumed, camera, *middle_of(wall == number)), 0) for number in (FLOOR, FLOOR + 1)]
    found = straighten(values, Space.DEPTH, camera, flats)
    low, high = np.percentile(depth, (1, 99))
    assert found.ratio == pytest.approx(high / low, rel=0.03)


def test_what_is_no_surface_is_refused():
    camera = Pinhole(100, 80, 100)
    rough = 2 + np.random.default_rng(0).random((80, 100))
    with pytest.raises(ValueError, match="no flat surface"):
        flat_around(rough, camera, 40, 50)
    with pytest.raises(ValueError, match="two surfaces"):
        straighten(rough, Space.DEPTH, camera, [Flat(np.ones((80, 100), bool), 0)])
