# SPDX-License-Identifier: GPL-3.0-or-later
"""Floors, walls and lengths that the artist points at."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from check_results import attribute, depth_image, positions, vertex_uv
from mathutils import Vector

FOCAL, WIDTH, HEIGHT = 0.7, 180, 120


def room() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth of the inside of a box, seen turned by 0.3 to the side and 0.2 down; what is seen, and the rotation."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    focal = FOCAL * WIDTH
    rays = np.stack([(x - WIDTH / 2) / focal, (HEIGHT / 2 - y) / focal, -np.ones_like(x)], axis=-1)
    (cy, sy), (cp, sp) = ((np.cos(angle), np.sin(angle)) for angle in (0.3, -0.2))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rays = rays @ turn.T
    with np.errstate(divide="ignore"):
        distance = np.where(rays > 0, [2.5, 1.4, 2.0] / rays, [-2.2, -1.4, -5.0] / rays)
    return distance.min(axis=-1), distance.argmin(axis=-1), turn


@pytest.fixture
def scene_of_a_room(settings):
    depth, seen, turn = room()
    settings.own_depth, settings.result, settings.use_cut = depth_image(1 / depth), "PERSPECTIVE", False
    settings.focal_from, settings.lens_mm, settings.long_edge = "LENS", 36 * FOCAL, 0
    assert bpy.ops.leadline.use_depth(meaning="NEAR_WHITE") == {"FINISHED"}
    thing = bpy.context.active_object
    uv = vertex_uv(thing)
    row, column = ((1 - uv[:, 1]) * (HEIGHT - 1)).round().astype(int), (uv[:, 0] * (WIDTH - 1)).round().astype(int)
    middle = (np.abs(row - HEIGHT / 2) < 0.47 * HEIGHT) & (np.abs(column - WIDTH / 2) < 0.47 * WIDTH)
    floor = middle & (seen[row, column] == 1) & (row > 0.6 * HEIGHT)
    back = middle & (seen[row, column] == 2)
    return thing, floor, back, turn


def normal_of(points: np.ndarray) -> np.ndarray:
    return np.linalg.eigh(np.cov(points.T))[1][:, 0]


def degrees_between(one, other) -> float:
    return float(np.degrees(np.arccos(np.clip(abs(np.dot(one, other)), 0, 1))))


def mark(thing, vertices: np.ndarray, surface: str) -> None:
    bpy.context.view_layer.objects.active = thing
    where = positions(thing)
    middle = np.flatnonzero(vertices)[np.abs(where[vertices] - np.median(where[vertices], axis=0)).sum(axis=1).argmin()]
    point = thing.matrix_world @ Vector(where[middle])
    assert bpy.ops.leadline.mark_surface(surface=surface, point=point) == {"FINISHED"}


def test_marked_floors_and_walls_become_straight_and_level(scene_of_a_room):
    thing, floor, back, turn = scene_of_a_room
    before = degrees_between(normal_of(positions(thing)[floor]), turn[1])
    mark(thing, floor, "FLOOR")
    mark(thing, back, "WALL")
    assert bpy.ops.leadline.straighten() == {"FINISHED"}
    after = positions(thing)
    tilts = degrees_between(normal_of(after[floor]), turn[1]), degrees_between(normal_of(after[back]), turn[2])
    print(f"floor tilted by {before:.1f} degrees, then by {tilts[0]:.2f}; wall by {tilts[1]:.2f}")
    assert before > 5
    assert max(tilts) <= 3.0
    bpy.context.view_layer.update()
    world = np.array([thing.matrix_world @ Vector(point) for point in after[floor][::20]])
    assert degrees_between(normal_of(world), (0, 0, 1)) < 3.0
    for child in thing.children:  # the marks lie on the surface as it is now
        if child.leadline.surface:
            assert np.linalg.norm(after - np.array(child.location), axis=1).min() < 0.1
    assert bpy.context.scene.leadline.far_m == pytest.approx(thing.leadline.far_m)


def test_straightening_says_what_is_missing(scene_of_a_room):
    thing, floor, _, _ = scene_of_a_room
    mark(thing, floor, "FLOOR")
    with pytest.raises(RuntimeError, match="two surfaces"):
        bpy.ops.leadline.straighten()
    thing.leadline.metric = True
    with pytest.raises(RuntimeError, match="measured metres"):
        bpy.ops.leadline.straighten()


def test_two_clicks_and_a_length_set_the_scale(scene_of_a_room):
    thing, floor, _, _ = scene_of_a_room
    before, vertices = positions(thing), np.flatnonzero(floor)[[0, -1]]
    ends = [thing.matrix_world @ Vector(before[index]) for index in vertices]
    length = (ends[0] - ends[1]).length
    made = bpy.ops.leadline.measure_length(first=ends[0], second=ends[1], length_m=2.5 * length)
    assert made == {"FINISHED"}
    assert bpy.ops.leadline.scale_to_references() == {"FINISHED"}
    assert thing.leadline.metric
    assert np.median(attribute(thing, "depth") / -before[:, 2]) == pytest.approx(2.5, rel=0.05)


def test_no_face_is_steeper_than_the_limit_unless_floors_are_kept(settings):
    y = np.maximum(np.arange(HEIGHT) + 0.5 - HEIGHT / 2, 1.5) / (1.2 * WIDTH)
    floor = np.broadcast_to((1.6 / y)[:, None], (HEIGHT, WIDTH)).astype(np.float32)
    settings.own_depth, settings.result, settings.long_edge = depth_image(floor), "PERSPECTIVE", 0
    settings.focal_from, settings.lens_mm = "LENS", 36 * 1.2
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    thing = bpy.context.active_object

    def steepest() -> float:
        where = positions(thing)
        faces = np.array([polygon.vertices for polygon in thing.data.polygons])
        a, b, c = (where[faces[:, i]].astype(float) for i in range(3))
        normals, sight = np.cross(b - a, c - a), -(a + b + c)
        cosine = (normals * sight).sum(axis=1) / np.linalg.norm(normals, axis=1) / np.linalg.norm(sight, axis=1)
        return float(np.degrees(np.arccos(cosine.min())))

    assert steepest() < 80
    assert bpy.ops.leadline.rebuild(keep_planes=True) == {"FINISHED"}
    assert steepest() > 85
