"""What goes out: rectified depth, validity, limits."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drive import header

from leadline.depth.prediction import DepthPrediction, Validity
from leadline.depth.spaces import Space
from leadline.sensors.camera import CalibratedCamera
from leadline.streaming.cameras import RectifiedView
from leadline.streaming.frames import NOT_SHOWN
from leadline.streaming.pipeline import published, published_validity
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings

WIDTH, HEIGHT = 160, 120
K = np.array([[110.0, 0, 79.5], [0, 110.0, 59.5], [0, 0, 1]])
DISTORTED = {"plumb_bob": [-0.3, 0.08, 0.001, -0.001, 0.0], "equidistant": [0.02, -0.01, 0.003, 0.0]}


def info(model: str) -> SimpleNamespace:
    p = np.column_stack([K, np.zeros(3)])
    return SimpleNamespace(
        width=WIDTH, height=HEIGHT, distortion_model=model, d=DISTORTED[model], k=K.ravel().tolist(), p=p.ravel().tolist(),
        binning_x=0, binning_y=0, roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip


@pytest.mark.parametrize("model", DISTORTED)
def test_a_rectified_image_is_what_a_pinhole_sees(model: str) -> None:
    """Against OpenCV: a point of the world lies at the same colour in both pictures."""
    camera = CalibratedCamera(WIDTH, HEIGHT, K, model, np.array(DISTORTED[model]))
    view = RectifiedView.of(camera)
    assert not view.camera.is_distorted
    v, u = np.indices((HEIGHT, WIDTH), dtype=np.float32)
    gradient = np.dstack([u, v, 0 * u]).astype(np.uint8)
    seen = view.image(gradient)
    points = np.random.default_rng(0).uniform([-0.5, -0.35, 1], [0.5, 0.35, 1], (200, 3))
    zero = np.zeros(3)
    if model == "equidistant":
        before = cv2.fisheye.projectPoints(points[:, None], zero, zero, K, np.array(DISTORTED[model]))[0][:, 0]
    else:
        before = cv2.projectPoints(points, zero, zero, K, np.array(DISTORTED[model]))[0][:, 0]
    after = np.rint(view.camera.project(points)[0]).astype(int)
    inside = (before > 2).all(axis=1) & (before < [WIDTH - 3, HEIGHT - 3]).all(axis=1)
    inside &= (after >= 0).all(axis=1) & (after < [WIDTH, HEIGHT]).all(axis=1)
    assert inside.sum() > 100
    difference = seen[after[inside, 1], after[inside, 0], :2] - before[inside]
    assert np.abs(difference).max() < 2.0  # rounding to a pixel, and the gradient's steps
    sparse = np.zeros((HEIGHT, WIDTH), np.float32)
    sparse[40:80, 50:100] = 3.0
    assert set(np.unique(view.sparse(sparse))) == {0.0, 3.0}  # never interpolated


def test_with_rectified_the_frame_has_a_pinhole_and_says_what_it_does_not_show() -> None:
    around = Surroundings(lambda source, error: pytest.fail(f"{source}: {error}"))
    around.info = info("equidistant")
    rgb = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    raw = around.frame(header(0, "optical"), rgb, around.info, StreamSettings())
    assert raw.camera.is_distorted
    assert raw.outside is None
    frame = around.frame(header(0, "optical"), rgb, around.info, StreamSettings(rectified=True))
    assert not frame.camera.is_distorted
    assert frame.rgb.shape == rgb.shape
    prediction = DepthPrediction(np.full((HEIGHT, WIDTH), 5.0, np.float32), Space.DEPTH, metric=True)
    outside = np.zeros((HEIGHT, WIDTH), bool)
    outside[:, :10] = True
    depth_m, _ = published(prediction, StreamSettings(), outside)
    assert np.isnan(depth_m[:, :10]).all()
    assert (depth_m[:, 10:] == 5.0).all()
    validity = published_validity(prediction, depth_m, outside)
    assert (validity[:, :10] == NOT_SHOWN).all()
    assert (validity[:, 10:] == Validity.MODEL_ONLY).all()


def test_sky_is_infinite_and_what_has_no_evidence_is_unknown() -> None:
    values = np.array([[2.0, 50.0, 60.0, 150.0]], np.float32)
    kinds = np.array([[Validity.MEASURED, Validity.SKY, Validity.OUT_OF_RANGE, Validity.COMPLETED]], np.uint8)
    metric = DepthPrediction(values, Space.DEPTH, uncertainty=0.1 * values, metric=True, validity=kinds)
    depth_m, sigma_m = published(metric, StreamSettings(max_depth_m=100.0))
    np.testing.assert_array_equal(depth_m, [[2.0, np.inf, np.nan, np.inf]])
    np.testing.assert_array_equal(np.isnan(sigma_m), [[False, True, True, True]])
    found = published_validity(metric, depth_m)
    np.testing.assert_array_equal(
        found, [[Validity.MEASURED, Validity.SKY, Validity.OUT_OF_RANGE, Validity.OUT_OF_RANGE]]
    )


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 100])
def test_limits_hold_in_every_row(rows: int) -> None:
    values = np.random.default_rng(rows).choice(np.array([0.01, 1.0, 90.0, np.nan], np.float32), (rows, 7))
    metric = DepthPrediction(values, Space.DEPTH, uncertainty=np.full_like(values, 0.5), metric=True)
    depth_m, sigma_m = published(metric, StreamSettings(min_depth_m=0.1, max_depth_m=50.0))
    inside = values == 1.0
    np.testing.assert_array_equal(np.where(values > 50.0, np.inf, np.where(values < 0.1, -np.inf, values)), depth_m)
    np.testing.assert_array_equal(np.where(inside, np.float32(0.5), np.nan), sigma_m)
