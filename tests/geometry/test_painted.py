"""Depth changed with a brush."""

from __future__ import annotations

import numpy as np

from leadline.geometry import moved_depth, moved_nearness, read_paint

WHITE, BLACK, BLUE, GREY = (255, 255, 255), (0, 0, 0), (0, 60, 255), (128, 128, 128)


def painted(*colours: tuple[int, int, int], opacity: int = 255) -> np.ndarray:
    return np.array([[(*colour, opacity) for colour in colours]], np.uint8)


def test_colours_say_where_to():
    shift, removed = read_paint(painted(WHITE, BLACK, BLUE, GREY))
    np.testing.assert_allclose(shift, [[1, -1, shift[0, 2], 0]], atol=0.01)
    assert abs(shift[0, 2]) < 0.3
    assert removed.tolist() == [[False, False, True, False]]


def test_opacity_counts_and_nothing_painted_changes_nothing():
    shift, removed = read_paint(painted(WHITE, BLACK, BLUE, opacity=64))
    np.testing.assert_allclose(shift[0, :2], [0.25, -0.25], atol=0.01)
    assert not removed.any()
    shift, removed = read_paint(painted(WHITE, BLACK, BLUE, opacity=0))
    assert not shift.any()
    assert not removed.any()


def test_white_all_the_way_brings_the_far_end_to_the_near_one():
    depth = np.geomspace(2.0, 8.0, 1001).reshape(1, -1).astype(np.float32)
    near, far = np.percentile(depth, [1, 99])
    there = moved_depth(depth, np.ones_like(depth), 1.0)
    np.testing.assert_allclose(there, depth * near / far, rtol=1e-5)
    np.testing.assert_allclose(moved_depth(depth, np.zeros_like(depth), 1.0), depth, rtol=1e-6)
    half = moved_depth(depth, -np.ones_like(depth), 0.5)
    np.testing.assert_allclose(half, depth * (far / near) ** 0.5, rtol=1e-5)


def test_nearness_stays_between_its_ends():
    rise = np.array([[0.0, 0.5, 0.9]], np.float32)
    np.testing.assert_allclose(moved_nearness(rise, np.ones_like(rise), 0.25), [[0.25, 0.75, 1.0]])
    np.testing.assert_allclose(moved_nearness(rise, -np.ones_like(rise), 0.25), [[0.0, 0.25, 0.65]])
