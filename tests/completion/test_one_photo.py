"""Metres of one photograph: on a scene whose depth is known, seen through relative maps of every space."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.completion.one_photo import Length, Reference, metric_from_one_photo
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.pinhole import Pinhole

WIDTH, HEIGHT, FOCAL = 160, 120, 150.0
CAMERA = CalibratedCamera.from_pinhole(Pinhole(WIDTH, HEIGHT, FOCAL))
PHOTO = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def corridor(height_m: float, pitch_deg: float) -> np.ndarray:
    """Flat ground below the camera, ended by a wall 12 m away."""
    y = (np.arange(HEIGHT) - (HEIGHT - 1) / 2)[:, None] / FOCAL
    pitch = np.deg2rad(pitch_deg)
    descent = y * np.cos(pitch) + np.sin(pitch)
    ground = np.where(descent > 1e-3, height_m / np.maximum(descent, 1e-3), np.inf)
    return np.broadcast_to(np.minimum(ground, 12.0), (HEIGHT, WIDTH)).astype(np.float32)


def relative(depth_m: np.ndarray, space: Space, scale: float = 0.4, shift: float = 0.3) -> DepthPrediction:
    return DepthPrediction((scale * space.from_depth(depth_m) + shift).astype(np.float32), space)


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize(("height_m", "pitch_deg"), [(1.6, 10.0), (0.3, 20.0)])
def test_camera_height_gives_the_metres_of_the_scene(space, height_m, pitch_deg):
    depth_m = corridor(height_m, pitch_deg)
    metric = metric_from_one_photo(
        PHOTO, relative(depth_m, space), CAMERA, camera_height_m=height_m, pitch_deg=pitch_deg
    )
    assert metric.metric
    near = depth_m < 15 * height_m
    np.testing.assert_allclose(metric.depth_m[near], depth_m[near], rtol=0.04)
    assert metric.uncertainty is not None
    assert "flat ground" in metric.meta["completion"]["evidence"]


def test_a_wall_is_not_taken_for_ground():
    wall = np.full((HEIGHT, WIDTH), 3.0, np.float32) + np.linspace(0, 1, WIDTH, dtype=np.float32)
    with pytest.raises(InputError, match="does not look like flat ground"):
        metric_from_one_photo(PHOTO, relative(wall, Space.LOG_DEPTH), CAMERA, camera_height_m=1.6, pitch_deg=10)


def test_several_known_depths_give_scale_and_shift():
    depth_m = corridor(1.6, 10)
    references = [
        Reference(x, y, float(depth_m[y, x])) for x, y in ((20, 30), (80, 110), (140, 80), (60, 95), (100, 60))
    ]
    metric = metric_from_one_photo(PHOTO, relative(depth_m, Space.DISPARITY), CAMERA, references=references)
    assert np.median(np.abs(metric.depth_m / depth_m - 1)) < 0.05
    assert metric.meta["completion"]["evidence"] == "5 known depths"


def test_a_known_length_gives_the_scale():
    depth_m = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth_m[:, 80:] = 5.0
    length_m = float(
        np.linalg.norm(np.diff(CAMERA.unproject(np.array([[20, 60], [60, 60]]), np.array([4.0, 4.0])), axis=0))
    )
    prediction = DepthPrediction(np.log(depth_m), Space.LOG_DEPTH)  # right up to the scale of depth
    metric = metric_from_one_photo(PHOTO, prediction, CAMERA, lengths=[Length(20, 60, 60, 60, length_m)])
    np.testing.assert_allclose(metric.depth_m[60, [20, 60]], 4.0, rtol=0.02)
    assert "the shift is assumed" in metric.meta["completion"]["evidence"]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({}, "metres need"),
        ({"references": [Reference(500, 3, 1.0)]}, "is not a pixel"),
        ({"references": [Reference(5, 3, -1.0)]}, "is not a pixel"),
        ({"references": [Reference(5, 3, 2.0)], "camera_height_m": 1.6}, "not both"),
        ({"camera_height_m": 0.0}, "not from"),
        ({"lengths": [Length(5, 5, 5, 5, 1.0)]}, "two different points"),
    ],
)
def test_evidence_that_is_none(evidence, message):
    with pytest.raises(InputError, match=message):
        metric_from_one_photo(PHOTO, relative(corridor(1.6, 10), Space.LOG_DEPTH), CAMERA, **evidence)
