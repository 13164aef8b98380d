"""Scale and shift: exact recovery, robustness, and stated results where there is nothing to recover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leadline.depth.alignment import (
    CONSTANT,
    NO_PIXELS,
    OK,
    ONE_PIXEL,
    Alignment,
    align,
    least_squares,
    median,
    robust_least_squares,
)
from leadline.depth.spaces import Space


@pytest.fixture
def depth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 30.0, (40, 50)).astype(np.float32)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9))
def test_median_is_numpys(values: list[float]) -> None:
    assert median(np.array(values)) == np.median(values)
    assert median(np.array(values, np.float32)) == pytest.approx(
        float(np.median(np.array(values, np.float32))), rel=1e-6
    )


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("robust", [False, True])
def test_recovers_exactly(space: Space, robust: bool, depth: np.ndarray) -> None:
    scale, shift = 0.37, -0.21
    values = (space.from_depth(depth.astype(np.float64)) - shift) / scale
    fit = align(values, depth, space, robust=robust)
    assert fit.status == OK
    assert (fit.scale, fit.shift) == (pytest.approx(scale, rel=1e-9), pytest.approx(shift, rel=1e-9))
    np.testing.assert_allclose(fit.apply(values), depth, rtol=1e-6)


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_robust_survives_outliers_that_break_squares(space: Space, share: float, depth: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    values = (space.from_depth(depth.astype(np.float64)) - 0.5) / 2.0
    wrong = rng.random(depth.shape) < share
    spoiled = np.where(wrong, depth * rng.uniform(3.0, 10.0, depth.shape), depth).astype(np.float32)
    robust, plain = (align(values, spoiled, space, robust=r) for r in (True, False))
    assert robust.scale == pytest.approx(2.0, rel=1e-4)
    assert robust.shift == pytest.approx(0.5, abs=1e-4)
    assert abs(plain.scale - 2.0) > 100 * abs(robust.scale - 2.0)


def test_robust_with_noise_is_nearly_as_good_as_squares(depth: np.ndarray) -> None:
    log_depth = np.log(depth.astype(np.float64))
    noisy = np.exp(log_depth + np.random.default_rng(2).normal(0, 0.05, depth.shape)).astype(np.float32)
    fit = align(log_depth, noisy, Space.LOG_DEPTH, robust=True)
    assert fit.scale == pytest.approx(1.0, abs=0.01)
    assert fit.shift == pytest.approx(0.0, abs=0.02)


def test_agrees_with_lstsq_on_far_away_numbers() -> None:
    rng = np.random.default_rng(4)
    x, y = 1e4 + rng.normal(0, 1, 500), rng.normal(0, 1, 500)
    (scale, shift), *_ = np.linalg.lstsq(np.stack([x - 1e4, np.ones_like(x)], 1), y, rcond=None)
    ours = least_squares(x, y)
    assert ours is not None
    assert ours[0] == pytest.approx(scale, rel=1e-8)
    assert ours[1] + ours[0] * 1e4 == pytest.approx(shift, rel=1e-6)


def test_same_seed_same_answer() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=60_000)
    y = 2 * x + 1 + rng.standard_cauchy(x.size)
    assert robust_least_squares(x, y) == robust_least_squares(x, y)


class TestDegenerate:
    def test_no_pixel(self) -> None:
        fit = align(np.ones((3, 3)), np.zeros((3, 3)), Space.DEPTH)
        assert (fit.status, fit.pixels, fit.usable) == (NO_PIXELS, 0, False)
        assert np.isfinite(fit.apply(np.ones((3, 3)))).all()

    def test_one_pixel(self) -> None:
        truth = np.zeros((3, 3))
        truth[1, 1] = 5.0
        fit = align(np.arange(9.0).reshape(3, 3), truth, Space.LOG_DEPTH)
        assert (fit.status, fit.scale, fit.usable) == (ONE_PIXEL, 0.0, True)
        np.testing.assert_allclose(fit.apply(np.arange(9.0)), 5.0)

    @pytest.mark.parametrize("robust", [False, True])
    def test_constant_prediction(self, robust: bool) -> None:
        truth = np.array([[1.0, 2.0, 9.0]])
        fit = align(np.full((1, 3), 0.1), truth, Space.DEPTH, robust=robust)
        assert (fit.status, fit.scale) == (CONSTANT, 0.0)
        np.testing.assert_allclose(fit.apply(np.full(3, 0.1)), 2.0 if robust else 4.0)

    def test_inverted_map_is_flagged(self, depth: np.ndarray) -> None:
        fit = align(-depth, depth, Space.DEPTH)
        assert fit.inverted
        assert not align(depth, depth, Space.DEPTH).inverted

    def test_infinite_prediction_is_left_out(self, depth: np.ndarray) -> None:
        values = depth.astype(np.float64)
        values[0, 0] = np.inf
        assert align(values, depth, Space.DEPTH).pixels == depth.size - 1


def test_fit_on_some_columns(depth: np.ndarray) -> None:
    fit = align(depth, depth, Space.DEPTH, columns=np.array([0, 3, 7]))
    assert fit.pixels == 3 * depth.shape[0]
    assert fit.scale == pytest.approx(1.0)


@pytest.mark.parametrize("space", list(Space))
def test_the_floor_is_what_it_is_told_to_be(space: Space) -> None:
    """Marigold clips KITTI, ETH3D, Hypersim and Virtual KITTI at 1e-5 m, below the millimetre that is our default."""
    near, fit = space.from_depth(np.array([4.0])), Alignment(0.0, -1e9 if not space.near_is_high else 1e9, space, OK, 2)
    assert fit.apply(near, 1e-5)[0] == pytest.approx(1e-5, rel=1e-6)
    assert fit.apply(near)[0] == pytest.approx(1e-3, rel=1e-6)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e5, allow_nan=False)), min_size=1, max_size=40),
    st.sampled_from(list(Space)),
    st.booleans(),
)
@example([(0.0, 55.0), (1.0, 1.0), (2.2250738585072014e-308, 1.0)], Space.LOG_DEPTH, True)
def test_any_numbers_give_finite_metres(pairs: list[tuple[float, float]], space: Space, robust: bool) -> None:
    values, measured = (np.array(column) for column in zip(*pairs, strict=True))
    depth = align(values[None], measured[None], space, robust=robust).apply(values)
    assert np.isfinite(depth).all()
    assert (depth > 0).all()
