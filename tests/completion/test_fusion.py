from dataclasses import replace

import cv2
import numpy as np
import pytest
from completion_scene import HEIGHT, WIDTH, keep, model_map, rmse, room
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.completion import CalibratedCamera, FusionOptions, SparseDepth, complete
from leadline.completion.fit import fit_scale_and_shift
from leadline.depth.spaces import Space
from leadline.errors import InputError, NotMetricError
from leadline.evaluation.completion import with_outliers
from leadline.evaluation.sparse import fill_linear, fill_nearest
from leadline.sensors.pinhole import Pinhole

IMAGE, DEPTH = room()
SPACES = list(Space)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("points", [5, 60, 500, 6000])
def test_an_exact_map_becomes_exact_metres(space, points):
    result = complete(IMAGE, model_map(DEPTH, space), keep(DEPTH, points))
    assert result.metric
    assert result.space is Space.DEPTH
    assert rmse(result.depth_m, DEPTH) < 0.02 * DEPTH.mean()


@pytest.mark.parametrize("space", SPACES)
def test_one_point_gives_the_scale_and_says_so(space):
    exact = model_map(DEPTH, space)
    result = complete(IMAGE, exact, keep(DEPTH, 1))
    at = np.flatnonzero(keep(DEPTH, 1))
    assert result.metric
    assert np.isclose(result.depth_m.flat[at], DEPTH.flat[at], rtol=1e-3)
    report = result.meta["completion"]
    assert report["fit"] == "scale"
    assert any("scale" in warning for warning in report["warnings"])
    assert report["uncertainty"] == "prior"
    assert (result.uncertainty > 0.2 * result.depth_m).mean() > 0.9
    order = np.argsort(exact.values.ravel()[::37])
    moved = result.depth_m.ravel()[::37][order]
    assert (np.diff(moved) * (-1 if space.near_is_high else 1) >= -1e-4).all()  # never inverted


@pytest.mark.parametrize(
    "sparse", [np.zeros((HEIGHT, WIDTH), np.float32), np.full((HEIGHT, WIDTH), np.nan, np.float32)]
)
def test_without_points_the_map_stays_relative(sparse):
    relative = model_map(DEPTH, Space.LOG_DEPTH)
    result = complete(IMAGE, relative, sparse)
    assert not result.metric
    assert np.array_equal(result.values, relative.values)
    assert result.meta["completion"]["status"] == "no points"
    with pytest.raises(NotMetricError):
        _ = result.depth_m


@pytest.mark.parametrize("points", [100, 1500])
def test_beats_classical_filling_with_a_model_that_is_wrong_by_a_fifth(points):
    sparse = keep(DEPTH, points)
    result = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH, noise=0.2), sparse).depth_m
    assert rmse(result, DEPTH) < 0.8 * rmse(fill_linear(sparse), DEPTH)
    assert rmse(result, DEPTH) < 0.8 * rmse(fill_nearest(sparse), DEPTH)
    only_scaled = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH, noise=0.2), sparse, method="scale").depth_m
    assert rmse(result, DEPTH) < rmse(only_scaled, DEPTH)


def test_a_model_that_says_nothing_does_no_harm():
    sparse = keep(DEPTH, 800)
    flat = replace(model_map(DEPTH, Space.LOG_DEPTH), values=np.zeros_like(DEPTH))
    result = complete(IMAGE, flat, sparse)
    assert rmse(result.depth_m, DEPTH) < rmse(fill_linear(sparse), DEPTH)


def test_an_inverted_map_is_not_believed():
    good = model_map(DEPTH, Space.LOG_DEPTH)
    sparse = keep(DEPTH, 800)
    result = complete(IMAGE, replace(good, values=1 - good.values), sparse)
    assert any("does not agree" in warning for warning in result.meta["completion"]["warnings"])
    assert rmse(result.depth_m, DEPTH) < 1.2 * rmse(fill_linear(sparse), DEPTH)


def test_passes_through_trustworthy_points_and_does_not_ring():
    sparse = keep(DEPTH, 700)
    result = complete(IMAGE, model_map(DEPTH, Space.SQRT_DISPARITY, noise=0.1), sparse).depth_m
    at = sparse > 0
    assert np.median(np.abs(result[at] - sparse[at]) / sparse[at]) < 1e-4
    assert np.percentile(np.abs(result[at] - sparse[at]) / sparse[at], 95) < 0.02
    assert result.min() > 0.8 * DEPTH.min()
    assert result.max() < 1.25 * DEPTH.max()


@pytest.mark.parametrize("points", [150, 300])
def test_sky_that_a_model_sees_between_points_stays_near_their_depth(points):
    far = 10 * DEPTH
    model = model_map(far, Space.SQRT_DISPARITY)
    patches = np.zeros(DEPTH.shape, bool)
    patches[10::40, 10::40] = True
    patches = cv2.dilate(patches.astype(np.uint8), np.ones((9, 9))) > 0
    sky = replace(model, values=np.where(patches, -0.5, model.values).astype(np.float32))
    result = complete(IMAGE, sky, keep(far, points)).depth_m
    assert result.max() < 1.3 * far.max()  # 2.7 × if the share of the model is let go


def test_beside_a_small_step_dense_points_decide_for_one_side():
    step = np.where(np.arange(WIDTH) < WIDTH // 2, 3.0, 3.3).astype(np.float32) * np.ones((HEIGHT, 1), np.float32)
    flat = replace(model_map(step, Space.LOG_DEPTH), values=np.zeros_like(step))
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)

    def between(options: FusionOptions) -> float:
        made = complete(grey, flat, keep(step, step.size // 2), options=options).depth_m
        return float(((made > 3.03) & (made < 3.27)).mean())

    assert between(FusionOptions()) < 0.7 * between(FusionOptions(tolerance=0.2))


def test_regions_without_points_follow_the_model():
    sparse = keep(DEPTH, 3000)
    sparse[:, WIDTH // 2 :] = 0
    result = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), sparse).depth_m
    right = np.s_[:, WIDTH * 3 // 4 :]
    assert rmse(result[right], DEPTH[right]) < 0.05 * DEPTH[right].mean()


def anywhere_in_the_room(sparse):
    """30 % of the points at any depth that the room has: some are far off, some only a little."""
    rng = np.random.default_rng(2)
    wrong = rng.choice(np.flatnonzero(sparse), int(0.3 * np.count_nonzero(sparse)), replace=False)
    spoiled = sparse.copy()
    spoiled.flat[wrong] = rng.uniform(DEPTH.min(), DEPTH.max(), len(wrong))
    return spoiled


def gross(sparse):
    """30 % of the points far off, as the evaluation has it."""
    return with_outliers(sparse, 0.3, seed=1)


SLIGHT = pytest.mark.xfail(strict=True, reason="among many points some that are wrong by little are kept: 33 %")


@pytest.mark.parametrize(
    ("points", "spoil"),
    [
        (400, gross),
        (4000, gross),
        (400, anywhere_in_the_room),
        pytest.param(4000, anywhere_in_the_room, marks=SLIGHT),
    ],
)
def test_thirty_percent_outliers_are_survived(points, spoil):
    model = model_map(DEPTH, Space.LOG_DEPTH, noise=0.1)
    rng = np.random.default_rng(1)
    sparse = keep(DEPTH, points) * np.exp(rng.normal(0, 0.02, DEPTH.shape)).astype(np.float32)
    spoiled = spoil(sparse)
    without = np.where(spoiled == sparse, sparse, np.float32(0))
    hidden = sparse == 0
    clean, survived = (complete(IMAGE, model, points_m).depth_m[hidden] for points_m in (without, spoiled))
    assert rmse(survived, DEPTH[hidden]) < 1.15 * rmse(clean, DEPTH[hidden])


@pytest.mark.parametrize("points", [300, 3000])
def test_uncertainty_covers_the_error(points):
    sparse = keep(DEPTH, points, seed=2)
    noisy = sparse * np.exp(np.random.default_rng(0).normal(0, 0.02, sparse.shape)).astype(np.float32)
    truth = DEPTH * np.exp(np.random.default_rng(9).normal(0, 0.02, sparse.shape)).astype(
        np.float32
    )  # another measurement
    result = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH, noise=0.3), noisy)
    hidden = sparse == 0
    ratio = (np.abs(result.depth_m - truth) / result.uncertainty)[hidden]
    assert 0.58 < (ratio < 1).mean() < 0.82
    assert 0.88 < (ratio < 2).mean() <= 0.99


def test_more_uncertain_far_from_points():
    sparse = keep(DEPTH, 3000)
    sparse[:, WIDTH // 2 :] = 0
    sigma = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH, noise=0.2), sparse).uncertainty / DEPTH
    assert np.median(sigma[:, WIDTH * 3 // 4 :]) > 1.3 * np.median(sigma[:, : WIDTH // 2])


def test_same_input_same_output_and_sparse_depth_object():
    sparse = keep(DEPTH, 500)
    v, u = np.nonzero(sparse)
    listed = SparseDepth(u, v, sparse[v, u], sparse.shape)
    model = model_map(DEPTH, Space.DEPTH)
    first, second = complete(IMAGE, model, sparse), complete(IMAGE, model, listed)
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.uncertainty, second.uncertainty)


@pytest.mark.parametrize(
    ("sparse", "words"),
    [
        (np.zeros((60, 80), np.float32), "resized"),
        (np.zeros((HEIGHT, WIDTH), np.uint16), "millimetres"),
        (np.full((HEIGHT, WIDTH), 2500.0), "millimetres"),
        (np.zeros(5), "H, W"),
    ],
)
def test_bad_sparse_depth_is_refused(sparse, words):
    with pytest.raises(InputError, match=words):
        complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), sparse)


def test_sizes_and_methods_are_checked():
    model, sparse = model_map(DEPTH, Space.LOG_DEPTH), keep(DEPTH, 10)
    with pytest.raises(InputError, match="calibration"):
        complete(IMAGE, model, sparse, CalibratedCamera.from_pinhole(Pinhole(80, 60, 50.0)))
    with pytest.raises(InputError, match="prediction"):
        complete(IMAGE[:-1], model, sparse)
    with pytest.raises(InputError, match="method"):
        complete(IMAGE, model, sparse, method="magic")


def test_negative_and_infinite_depth_is_dropped_with_a_warning():
    sparse = keep(DEPTH, 50)
    clean = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), sparse)
    spoiled = sparse.copy()
    spoiled[0, :6] = [-1, np.inf, -np.inf, np.nan, 0, -3]
    result = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), spoiled)
    assert any("negative" in warning for warning in result.meta["completion"]["warnings"])
    assert not sparse[0, :6].any(), "the spoiled pixels should hold no point of their own"
    assert np.array_equal(result.values, clean.values)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), points=st.integers(0, 40), space=st.sampled_from(SPACES), flat=st.booleans())
def test_any_points_give_finite_depth(seed, points, space, flat):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(8, 40, 2)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    values = np.zeros((height, width), np.float32) if flat else rng.normal(0, 3, (height, width)).astype(np.float32)
    model = replace(
        model_map(np.ones((height, width), np.float32) + rng.random((height, width), np.float32), space), values=values
    )
    sparse = np.zeros((height, width), np.float32)
    at = rng.integers(0, height * width, points)
    sparse.flat[at] = np.exp(rng.uniform(-4, 6, points))
    result = complete(image, model, sparse)
    assert result.metric == bool((sparse > 0).any())
    assert np.isfinite(result.values).all()
    if result.metric:
        assert (result.values > 0).all()
        assert np.isfinite(result.uncertainty).all()
        assert (result.uncertainty > 0).all()


def test_fit_survives_two_fifths_of_outliers():
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, 600)
    depth = np.exp(0.8 * values + 0.4)
    depth[:240] = rng.uniform(0.5, 30, 240)
    fit = fit_scale_and_shift(values, depth, Space.LOG_DEPTH)
    assert abs(fit.scale - 0.8) < 0.01
    assert abs(fit.shift - 0.4) < 0.01
