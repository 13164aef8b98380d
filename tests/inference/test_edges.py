"""Edge snapping against scenes whose true depth is known."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

import leadline
from leadline import DepthPrediction, InputError, Space
from leadline.evaluation.boundaries import boundary_f1
from leadline.inference.refine import refine
from leadline.inference.refine.edges import blur_of_steps, sharpen, snap_edges
from leadline.inference.refine.edges_on_device import snap_edges_on
from leadline.scenes import render_scenes

HEIGHT, WIDTH = 360, 480


def texture(rng: np.random.Generator, tone: tuple[int, int, int]) -> np.ndarray:
    """A noisy colour with stains, uint8 (H, W, 3)."""
    stains = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 6) * 60
    noise = rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.clip(np.array(tone) + stains[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def desk() -> tuple[np.ndarray, np.ndarray]:
    """Log depth of two discs and a box before a slanted wall, and its photograph."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = 1.6 + 0.4 * x / WIDTH
    rgb = texture(rng, (150, 140, 110))
    for inside, log_depth, tone in (
        ((x - 140) ** 2 + (y - 120) ** 2 < 70**2, 0.7, (60, 80, 150)),
        ((x - 330) ** 2 + (y - 230) ** 2 < 85**2, 0.9, (170, 60, 50)),
        ((x > 60) & (x < 200) & (y > 240) & (y < 330), 0.5 + y / 1000, (50, 120, 60)),
    ):
        depth = np.where(inside, log_depth, depth).astype(np.float32)
        rgb = np.where(inside[..., None], texture(rng, tone), rgb)
    return depth, rgb


def near_edges(depth: np.ndarray) -> np.ndarray:
    steps = np.zeros(depth.shape, np.uint8)
    steps[:, 1:] |= (np.abs(np.diff(depth, axis=1)) > 0.05).astype(np.uint8)
    steps[1:] |= (np.abs(np.diff(depth, axis=0)) > 0.05).astype(np.uint8)
    return cv2.dilate(steps, np.ones((21, 21), np.uint8)) > 0


def smaller(depth: np.ndarray, factor: int) -> np.ndarray:
    small = cv2.resize(depth, (WIDTH // factor, HEIGHT // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("blur", ["4", "8", "16", "/4", "/8"])
def test_blurred_perfect_depth_gets_its_edges_back(desk, blur):
    depth, rgb = desk
    soft = smaller(depth, int(blur[1:])) if blur[0] == "/" else cv2.GaussianBlur(depth, (0, 0), float(blur))
    snapped = snap_edges(soft, rgb)
    edge = near_edges(depth)
    assert np.abs(snapped.values - depth)[edge].mean() < 0.5 * np.abs(soft - depth)[edge].mean()
    far = ~(cv2.dilate(edge.astype(np.uint8), np.ones((61, 61), np.uint8)) > 0)
    np.testing.assert_array_equal(snapped.values[far], soft[far])


def test_flying_pixels_are_fewer(desk):
    depth, rgb = desk
    soft = cv2.GaussianBlur(depth, (0, 0), 4)
    window = np.ones((7, 7), np.uint8)
    near, far = np.exp(cv2.erode(depth, window)), np.exp(cv2.dilate(depth, window))
    close_by = far > 1.2 * near

    def flying(values: np.ndarray) -> float:
        metres = np.exp(values)
        return float(((metres > 1.05 * near) & (metres < 0.95 * far))[close_by].mean())

    assert flying(snap_edges(soft, rgb).values) < 0.5 * flying(soft)


def test_sharp_depth_comes_back_as_it_is(desk):
    depth, rgb = desk
    np.testing.assert_array_equal(snap_edges(depth, rgb).values, depth)
    scene = render_scenes(77, 1, 192, 256, layout="room")
    true = np.log(np.where(scene.valid[0], scene.depth_m[0], 100.0)).astype(np.float32)
    np.testing.assert_allclose(snap_edges(true, scene.rgb[0].numpy()).values, true, atol=1e-3)


def test_texture_makes_no_relief():
    rng = np.random.default_rng(2)
    checks = (np.indices((HEIGHT, WIDTH)).sum(0) // 24 % 2).astype(bool)
    rgb = np.where(checks[..., None], texture(rng, (210, 200, 190)), texture(rng, (40, 30, 30)))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    plane = (1.0 + 0.002 * x + 0.001 * y).astype(np.float32)
    np.testing.assert_array_equal(snap_edges(plane, rgb).values, plane)
    fold = np.maximum(plane, 1.9 - 0.001 * x).astype(np.float32)
    np.testing.assert_allclose(snap_edges(fold, rgb).values, fold, rtol=0.005)
    wavy = (plane + 0.003 * cv2.GaussianBlur(rng.normal(size=plane.shape).astype(np.float32), (0, 0), 8)).astype(
        np.float32
    )
    np.testing.assert_allclose(snap_edges(wavy, rgb).values, wavy, rtol=0.005)


@pytest.mark.parametrize("snap", [snap_edges, lambda *given: snap_edges_on("cpu", *given)], ids=["numpy", "device"])
def test_ground_that_rises_evenly_is_no_step(desk, snap):
    depth, rgb = desk
    steps = cv2.GaussianBlur(depth, (0, 0), 4)
    rise = np.zeros((HEIGHT, WIDTH), np.float32)
    rise[HEIGHT - 20 :] = 0.8
    ground = cv2.GaussianBlur(rise, (0, 0), 8.5)  # more than twice as wide as the steps
    snapped = snap((steps - ground).astype(np.float32), rgb)
    assert snapped.moved[: HEIGHT - 60].any()
    steepest = np.zeros((HEIGHT, WIDTH), bool)
    steepest[HEIGHT - 28 : HEIGHT - 12, 430:] = True  # beside the disc
    assert not snapped.moved[steepest].any()


@pytest.mark.parametrize("snap", [snap_edges, lambda *given: snap_edges_on("cpu", *given)], ids=["numpy", "device"])
@pytest.mark.parametrize("turns", range(4))
def test_a_lip_at_the_border_is_a_step_only_if_the_photograph_has_one(desk, snap, turns):
    """Networks err in the last pixels of a map."""
    depth, rgb = desk
    lip = depth.copy()
    lip[-12:] -= 0.25
    soft = cv2.GaussianBlur(lip, (0, 0), 5)

    def moved(picture: np.ndarray) -> np.ndarray:
        turned = snap(np.rot90(soft, turns).copy(), np.rot90(picture, turns).copy())
        return np.rot90(turned.moved, -turns)[-12:]

    shelf = rgb.copy()
    shelf[-12:] = (220, 40, 160)
    assert not moved(rgb).any()
    assert moved(shelf).mean() > 0.3


def test_colour_decides_where_the_ramp_is_in_the_wrong_place(desk):
    depth, rgb = desk
    soft = cv2.GaussianBlur(np.roll(depth, 3, axis=1), (0, 0), 4)  # the network's edge is 3 px to the right
    right = np.abs(snap_edges(soft, rgb).values - depth)
    grey = np.abs(snap_edges(soft, np.full_like(rgb, 128)).values - depth)
    edge = near_edges(depth)
    assert right[edge].mean() < 0.8 * grey[edge].mean()


def test_uncertainty_grows_where_the_side_is_open(desk):
    depth, rgb = desk
    soft = cv2.GaussianBlur(depth, (0, 0), 6)
    sigma = np.full_like(soft, 0.02)
    snapped = snap_edges(soft, np.full_like(rgb, 128), sigma)
    assert (snapped.uncertainty >= sigma * 0.999).all()
    np.testing.assert_array_equal(snapped.uncertainty[~snapped.moved], sigma[~snapped.moved])
    assert snapped.uncertainty[snapped.moved].max() > 0.2
    np.testing.assert_array_equal(sigma, np.full_like(soft, 0.02))


def test_what_is_not_finite_stays(desk):
    depth, rgb = desk
    soft = cv2.GaussianBlur(depth, (0, 0), 4)
    soft[:40] = np.inf
    soft[300:310, 300:310] = np.nan
    out = snap_edges(soft, rgb).values
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(soft))


@pytest.mark.parametrize("sigma", [2.0, 4.0, 9.0])
def test_blur_is_measured(desk, sigma):
    assert blur_of_steps(cv2.GaussianBlur(desk[0], (0, 0), sigma)) == pytest.approx(sigma, rel=0.15)


def test_maps_without_edges_and_tiny_ones():
    for shape in ((40, 40), (1, 1), (3, 300)):
        flat = np.full(shape, 2.0, np.float32)
        np.testing.assert_array_equal(snap_edges(flat, np.zeros((*shape, 3), np.uint8)).values, flat)
    with pytest.raises(InputError, match="photograph"):
        snap_edges(np.zeros((4, 4), np.float32), np.zeros((4, 5, 3), np.uint8))


def test_a_prediction_says_what_was_done(desk):
    depth, rgb = desk
    prediction = DepthPrediction(cv2.GaussianBlur(depth, (0, 0), 4), Space.LOG_DEPTH, model="m")
    sharp = sharpen(prediction, rgb)
    assert sharp.meta["detail"] == "edges"
    assert sharp.meta["edge_pixels"] > 1000
    assert sharp.model == "m"


@pytest.mark.parametrize("name", ["depthfm-mini", "depthmaster-mini", "fiffdepth-mini"])
def test_boundaries_of_the_small_models(name):
    scene = render_scenes(9100, 1, 384, 512, layout="room")
    rgb, true, valid = scene.rgb[0].numpy(), scene.depth_m[0].numpy(), scene.valid[0].numpy()
    estimator = leadline.load(name, device="cpu")
    scores, errors = [], []
    for detail in ("off", "edges"):
        prediction = estimator.predict(rgb, detail=detail)
        space = prediction.space
        slope, offset = np.polyfit(prediction.values[valid], space.from_depth(true[valid]), 1)
        metres = space.to_depth(slope * prediction.values.astype(np.float64) + offset)
        scores.append(boundary_f1(metres, np.where(valid, true, 0), valid)["boundary_f1"])
        errors.append(float((np.abs(metres - true) / true)[valid].mean()))
    assert scores[1] > 1.6 * scores[0]
    assert errors[1] < 1.01 * errors[0]


def test_it_needs_no_torch():
    code = "import sys, leadline.inference.refine.edges; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("blur", ["4", "/8"])
def test_the_gpu_path_does_the_same(desk, blur):
    """Run where there is always a device: PyTorch's CPU."""
    depth, rgb = desk
    soft = smaller(depth, int(blur[1:])) if blur[0] == "/" else cv2.GaussianBlur(depth, (0, 0), float(blur))
    sigma = np.full_like(soft, 0.02)
    here, there = snap_edges(soft, rgb, sigma), snap_edges_on("cpu", soft, rgb, sigma)
    assert there.blur_px == pytest.approx(here.blur_px, rel=0.05)
    assert (here.moved == there.moved).mean() > 0.995
    assert np.mean(np.abs(here.values - there.values) < 0.02) > 0.99
    assert np.mean(np.abs(here.uncertainty - there.uncertainty) < 0.02) > 0.99
    edge = near_edges(depth)
    errors = [np.abs(one.values - depth)[edge].mean() for one in (here, there)]
    assert errors[1] < 1.05 * errors[0]
    holed = soft.copy()
    holed[100:110, 100:130] = np.nan
    np.testing.assert_array_equal(np.isnan(snap_edges_on("cpu", holed, rgb).values), np.isnan(holed))
    np.testing.assert_array_equal(snap_edges_on("cpu", depth, rgb).values, depth)


def test_a_network_on_a_gpu_takes_the_gpu_path(desk, monkeypatch):
    depth, rgb = desk
    soft = DepthPrediction(cv2.GaussianBlur(depth, (0, 0), 4), Space.LOG_DEPTH)
    asked = []

    def on(device, *arguments):
        asked.append(device)
        return snap_edges_on("cpu", *arguments)

    monkeypatch.setattr("leadline.inference.refine.edges_on_device.snap_edges_on", on)
    refine(soft, rgb, "edges", 288)
    assert not asked
    assert refine(soft, rgb, "edges", 288, device="cuda:1").meta["edge_pixels"] > 500
    assert asked == ["cuda:1"]
