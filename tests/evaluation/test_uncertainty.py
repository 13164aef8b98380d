"""Error ratio, AUSE and calibration on cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.evaluation.uncertainty import (
    LEVELS,
    ause,
    calibration_curve,
    error_ratio,
    sparsification,
    uncertainty_metrics,
)

RNG = np.random.default_rng(0)


def test_error_ratio_by_hand() -> None:
    assert error_ratio(np.array([1.0, 1.0, 3.0, 5.0]), np.array([0.1, 0.2, 0.3, 0.4])) == 4.0
    assert error_ratio(np.ones(4), np.ones(4)) is None  # nothing is above the median
    assert error_ratio(np.array([0.0, 1.0]), np.array([0.1, 0.2])) is None  # no error to divide by
    assert error_ratio(np.zeros(0), np.zeros(0)) is None


def test_sparsification_by_hand() -> None:
    errors = np.array([4.0, 3.0, 2.0, 1.0])
    np.testing.assert_allclose(sparsification(errors, errors, 4) * 2.5, [2.5, 2.0, 1.5, 1.0])
    np.testing.assert_allclose(sparsification(errors, -errors, 4) * 2.5, [2.5, 3.0, 3.5, 4.0])
    np.testing.assert_array_equal(sparsification(np.zeros(4), errors, 4), 0.0)


def test_ause_ranks_rankings() -> None:
    errors = np.abs(RNG.normal(size=5000))
    perfect, useless, inverted = ause(errors, errors), ause(errors, RNG.random(5000)), ause(errors, -errors)
    assert perfect == pytest.approx(0.0)
    assert 0.3 < useless < inverted
    assert ause(np.zeros(0), np.zeros(0)) is None
    assert ause(np.zeros(9), np.ones(9)) == 0.0


def test_ause_is_the_area_between_the_curves() -> None:
    errors, sigma = np.abs(RNG.normal(size=1000)), RNG.random(1000)
    integrate = pytest.importorskip("scipy.integrate")
    gap = sparsification(errors, sigma) - sparsification(errors, errors)
    assert ause(errors, sigma) == pytest.approx(integrate.trapezoid(gap, dx=0.01), abs=1e-12)


def test_calibration_of_a_true_gaussian_is_the_diagonal() -> None:
    sigma = RNG.uniform(0.1, 2.0, 200_000)
    errors = np.abs(RNG.normal(size=sigma.size)) * sigma
    np.testing.assert_allclose(calibration_curve(errors, sigma), LEVELS, atol=0.005)
    assert (calibration_curve(errors, sigma / 3) < LEVELS).all()
    assert (calibration_curve(errors, sigma * 3) > LEVELS).all()


def test_calibration_widths_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    errors = np.linspace(0, 4, 1001)
    expected = [(errors <= stats.norm.ppf(0.5 + level / 2)).mean() for level in LEVELS]
    np.testing.assert_allclose(calibration_curve(errors, np.ones_like(errors)), expected, atol=1e-9)


def test_metrics_of_a_calibrated_map() -> None:
    truth = RNG.uniform(1, 5, (200, 200))
    sigma = RNG.uniform(0.01, 0.3, truth.shape)
    scores = uncertainty_metrics(truth + sigma * RNG.normal(size=truth.shape), sigma, truth)
    assert scores["coverage_1s"] == pytest.approx(0.683, abs=0.01)
    assert scores["coverage_2s"] == pytest.approx(0.954, abs=0.01)
    assert scores["calibration_error"] < 0.01
    assert scores["error_ratio"] > 1.5


def test_degenerate_maps_give_none_or_numbers_never_nan() -> None:
    truth = np.full((4, 4), 2.0)
    assert set(uncertainty_metrics(truth, truth, np.zeros((4, 4))).values()) == {None}
    certain = uncertainty_metrics(truth, np.zeros((4, 4)), truth)
    assert certain.pop("error_ratio") is None
    assert certain == pytest.approx({"ause": 0.0, "calibration_error": 0.5, "coverage_1s": 1.0, "coverage_2s": 1.0})
    wrong = uncertainty_metrics(truth + 1, np.zeros((4, 4)), truth)
    assert wrong["coverage_2s"] == 0.0
    one = np.zeros((4, 4))
    one[0, 0] = 3.0
    assert uncertainty_metrics(truth, truth, one)["coverage_1s"] == 1.0
