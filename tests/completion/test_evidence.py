"""What has no evidence says so: sky, holes, what lies beyond the points."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from completion_scene import HEIGHT, WIDTH, keep, model_map, room
from torch.utils._python_dispatch import TorchDispatchMode

import leadline
from leadline.completion import SparseDepth, complete
from leadline.depth.prediction import Validity
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.evaluation.patterns import Measured, draw
from leadline.evaluation.sparse import sample
from leadline.scenes import render_scenes

IMAGE, DEPTH = room()


@pytest.fixture(scope="module")
def streets():
    """Rendered streets with the model's map of each; seeds that the search for sky was not fitted to."""
    batch = render_scenes(4242, 3, 240, 426, "street")
    model = leadline.load("fiffdepth-mini")
    return batch, [model.predict(rgb.numpy()) for rgb in batch.rgb]


@pytest.mark.parametrize("pattern", ["64-line", "500"])
def test_the_sky_of_a_street_is_no_confident_wall(streets, pattern):
    batch, predictions = streets
    found, lost, no_sky = [], [], []
    for rgb, truth, valid, camera, prediction in zip(
        batch.rgb.numpy(),
        batch.depth_m.numpy(),
        batch.valid.numpy(),
        batch.intrinsics.numpy(),
        predictions,
        strict=True,
    ):
        intrinsics = (camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2])
        done = complete(rgb, prediction, sample(pattern, truth, 0, intrinsics))
        unsure = done.uncertainty >= 0.5 * done.depth_m
        assert np.isfinite(done.depth_m).all()
        assert np.isinf(done.evident_depth_m[done.validity == Validity.SKY]).all()
        found.append(unsure[~valid])
        lost.append(unsure[valid])  # among few points some of the rest is rightly unsure, but it is not sky
        no_sky.append(done.validity[valid] >= Validity.SKY)
    assert np.concatenate(found).mean() >= 0.95
    assert np.concatenate(lost if pattern == "64-line" else no_sky).mean() <= 0.01


def test_a_room_has_no_sky():
    for points in (1, 5, 50, 2000):
        assert not (
            complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), keep(DEPTH, points)).validity == Validity.SKY
        ).any()


def test_validity_says_what_stands_behind_a_pixel():
    sparse = keep(DEPTH, 3000)
    sparse[:, WIDTH // 2 :] = 0
    done = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH, noise=0.1), sparse)
    assert done.validity.dtype == np.uint8
    assert ((done.validity == Validity.MEASURED) == (sparse > 0)).mean() > 0.999  # but rejected points
    left, right = done.validity[:, : WIDTH // 2 - 8], done.validity[:, WIDTH * 3 // 4 :]
    assert (left <= Validity.COMPLETED).mean() > 0.99
    assert (right == Validity.MODEL_ONLY).all()


def test_depth_without_evidence_is_infinite_or_nan():
    values = np.array([[1.0, 2.0, 3.0]], np.float32)
    validity = np.array([[Validity.MODEL_ONLY, Validity.SKY, Validity.OUT_OF_RANGE]], np.uint8)
    told = leadline.DepthPrediction(values, Space.DEPTH, metric=True, validity=validity).evident_depth_m
    assert told.dtype == np.float32
    np.testing.assert_array_equal(told, [[1.0, np.inf, np.nan]])
    with pytest.raises(InputError, match="differ in size"):
        leadline.DepthPrediction(values, Space.DEPTH, metric=True, validity=validity[:, :2])


def test_a_hole_is_as_uncertain_as_it_is_wrong():
    """Two thirds of the points lie outside of a hole in which the model is off."""
    inside = np.zeros(DEPTH.shape, bool)
    inside[30:90, 50:130] = True
    model = model_map(DEPTH, Space.LOG_DEPTH, noise=0.3)
    ratios, relative = [], []
    for seed in range(4):
        done = complete(IMAGE, model, np.where(inside, 0, keep(DEPTH, 4000, seed)).astype(np.float32))
        ratios.append((np.abs(done.depth_m - DEPTH) / done.uncertainty)[inside])
        relative.append(done.uncertainty / done.depth_m)
    ratios = np.concatenate(ratios)
    assert 0.5 < (ratios < 1).mean() < 0.95
    assert (ratios < 2).mean() > 0.9
    assert np.mean([r[inside].mean() for r in relative]) > 3 * np.mean([r[~inside].mean() for r in relative])


def test_points_with_a_sigma_of_their_own_are_followed_less():
    v, u = np.nonzero(keep(DEPTH, 600))
    noise = np.where(np.arange(len(v)) % 2, 0.2, 0.0)
    rng = np.random.default_rng(0)
    depth = (DEPTH[v, u] * np.exp(noise * rng.normal(0, 1, len(v)))).astype(np.float32)
    points = SparseDepth(v=v, u=u, depth_m=depth, size=DEPTH.shape)
    told = replace(points, sigma_m=(noise * depth + 0.001).astype(np.float32))
    model = model_map(DEPTH, Space.LOG_DEPTH, noise=0.1)
    plain, weighed = (np.abs(complete(IMAGE, model, p).depth_m - DEPTH).mean() for p in (points, told))
    assert weighed < 0.7 * plain
    with pytest.raises(InputError, match="sigma"):
        replace(points, sigma_m=told.sigma_m[:-1])


class NoDoublePrecision(TorchDispatchMode):
    """What a device without double precision (MPS) would refuse."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                assert one.dtype not in (torch.float64, torch.complex128), f"{func} made a tensor in double precision"
        return result


@pytest.mark.parametrize("points", [1, 7, 30, 400, HEIGHT * WIDTH // 2])
def test_nothing_on_the_device_is_in_double_precision(points):
    sparse = keep(DEPTH, points)
    sparse[20:60, 20:60] = 0
    model = model_map(DEPTH, Space.SQRT_DISPARITY, noise=0.1)
    with NoDoublePrecision():
        done = complete(IMAGE, replace(model, uncertainty=np.full_like(DEPTH, 0.01)), sparse)
    assert done.metric


def test_what_lies_beyond_the_sensors_range_is_the_models_and_unsure():
    """An RGB-D camera that sees the nearer half: the rest is no wall just behind it."""
    batch = render_scenes(4242, 3, 240, 320, "room")
    model = leadline.load("fiffdepth-mini")
    inside, within_range, model_only = [], [], []
    for rgb, truth in zip(batch.rgb.numpy(), batch.depth_m.numpy(), strict=True):
        relative = model.predict(rgb)
        done = complete(rgb, relative, draw("nearest-50%", Measured(truth, rgb, None), 0))
        beyond = truth > np.quantile(truth, 0.67)
        inside.append((np.abs(done.depth_m - truth) <= 2 * done.uncertainty)[beyond].mean())
        seen = complete(rgb, relative, draw("500", Measured(truth, rgb, None), 0))
        within_range.append(np.median((seen.uncertainty / seen.depth_m)[beyond]))
        model_only.append((done.validity == Validity.MODEL_ONLY)[beyond].mean())
    assert np.mean(model_only) >= 0.6
    assert np.mean(inside) >= 0.7  # 0.25 when points spoke for what is behind them
    assert np.mean(within_range) <= 0.05  # where the sensor reaches everywhere, nothing changes
