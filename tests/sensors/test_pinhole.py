"""The pinhole of photographs and the calibrated camera of sensors are one camera, counted from other origins."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.pinhole import Pinhole, at_centres, scaled_matrix

PINHOLE = Pinhole(64, 48, 50.0)


def test_both_cameras_see_a_point_at_the_same_place():
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 9], (20, 3))  # x right, y down, z forward
    pixels, depth_m = CalibratedCamera.from_pinhole(PINHOLE).project(points)
    x_px, y_px, depth = PINHOLE.project(points * [1, -1, -1])  # y up, z towards the viewer
    np.testing.assert_allclose(pixels, np.stack([at_centres(x_px), at_centres(y_px)], 1), atol=1e-9)
    np.testing.assert_allclose(depth_m, depth)


def test_a_resized_picture_keeps_its_corners():
    scaled = scaled_matrix(PINHOLE.matrix, 0.5, 2.0)
    rays = np.linalg.inv(PINHOLE.matrix) @ [-0.5, 47.5, 1.0]
    np.testing.assert_allclose(scaled @ rays, [-0.5, 95.5, 1.0])


def test_cosines_turn_distances_into_depth():
    row, column = 5, 40
    (point,) = CalibratedCamera.from_pinhole(PINHOLE).unproject(np.array([[column, row]]), np.array([3.0]))
    assert PINHOLE.cosines()[row, column] * np.linalg.norm(point) == pytest.approx(3.0)
