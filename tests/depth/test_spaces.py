from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline import DepthPrediction, InputError, NotMetricError, Space

DEPTHS = st.floats(0.05, 500.0)


@pytest.mark.parametrize("space", list(Space))
class TestSpace:
    @given(depth=DEPTHS)
    @settings(max_examples=30)
    def test_there_and_back(self, space, depth):
        assert space.to_depth(space.from_depth(np.array([depth])))[0] == pytest.approx(depth, rel=1e-9)

    @given(near=DEPTHS, farther=st.floats(1.01, 10.0))
    @settings(max_examples=30)
    def test_direction(self, space, near, farther):
        low, high = space.from_depth(np.array([near, near * farther]))
        assert (low > high) == space.near_is_high

    def test_torch_agrees_with_numpy(self, space):
        depth = np.geomspace(0.1, 100, 20)
        np.testing.assert_allclose(space.from_depth(torch.tensor(depth)).numpy(), space.from_depth(depth), rtol=1e-12)

    def test_nothing_escapes(self, space):
        depth = space.to_depth(np.array([-1e9, -1.0, 0.0, 1.0, 1e9]))
        assert np.isfinite(depth).all()
        assert (depth > 0).all()

    def test_slope_is_the_derivative(self, space):
        value = space.from_depth(np.array([0.7, 3.0, 20.0]))
        step = 1e-6 * np.abs(value)
        numeric = np.abs(space.to_depth(value + step) - space.to_depth(value - step)) / (2 * step)
        np.testing.assert_allclose(space.depth_slope(value), numeric, rtol=1e-5)


class TestPrediction:
    def test_relative_maps_have_no_metres(self):
        prediction = DepthPrediction(np.zeros((4, 5), np.float32), Space.LOG_DEPTH, model="depthfm")
        with pytest.raises(NotMetricError, match="relative"):
            _ = prediction.depth_m

    def test_aligned_is_metric_and_carries_uncertainty(self):
        """ln z = 2 * value, spread 0.1: z = e^2, sigma = 0.1 * 2 * e^2."""
        values = np.full((2, 2), 1.0, np.float32)
        prediction = DepthPrediction(values, Space.LOG_DEPTH, uncertainty=np.full((2, 2), 0.1, np.float32))
        metric = prediction.aligned(2.0, 0.0)
        np.testing.assert_allclose(metric.depth_m, np.e**2, rtol=1e-6)
        np.testing.assert_allclose(metric.uncertainty, 0.2 * np.e**2, rtol=1e-6)

    @pytest.mark.parametrize(("space", "nearest"), [(Space.LOG_DEPTH, 0), (Space.SQRT_DISPARITY, 1)])
    def test_nearness_is_one_at_the_nearest(self, space, nearest):
        shades = DepthPrediction(np.array([[0.0, 1.0]], np.float32), space).nearness()
        assert shades[0, nearest] == 1.0
        assert shades[0, 1 - nearest] == 0.0

    def test_constant_map_is_shown_without_nan(self):
        assert np.isfinite(DepthPrediction(np.ones((3, 3), np.float32), Space.DEPTH).nearness()).all()

    @pytest.mark.parametrize(
        "arguments",
        [
            {"values": np.zeros((2, 2, 2), np.float32), "space": Space.DEPTH},
            {"values": np.zeros((2, 2), np.float32), "space": Space.DEPTH, "uncertainty": np.zeros((3, 2), np.float32)},
            {"values": np.zeros((2, 2), np.float32), "space": Space.LOG_DEPTH, "metric": True},
        ],
    )
    def test_contradictions_are_refused(self, arguments):
        with pytest.raises(InputError):
            DepthPrediction(**arguments)
