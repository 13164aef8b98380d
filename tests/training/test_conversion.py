"""Maps of teachers in the student's space, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.depth.spaces import Space
from leadline.training.conversion import as_relative_depth, in_space
from leadline.training.normalisation import Normalisation

DEPTH = np.linspace(1.0, 9.0, 400, dtype=np.float32).reshape(20, 20)
ALL = np.ones(DEPTH.shape, dtype=bool)


def test_in_the_same_space_nothing_is_assumed() -> None:
    for space in Space:
        values = 3.0 * space.from_depth(DEPTH) + 5.0
        expected = Normalisation(space)(DEPTH, ALL)
        np.testing.assert_allclose(in_space(values, space, False, space), expected, atol=1e-4)


@pytest.mark.parametrize("wanted", list(Space))
def test_metric_depth_and_true_disparity_go_anywhere_exactly(wanted: Space) -> None:
    expected = Normalisation(wanted)(DEPTH, ALL)
    np.testing.assert_allclose(in_space(DEPTH, Space.DEPTH, True, wanted), expected, atol=2e-4)
    np.testing.assert_allclose(in_space(7.0 / DEPTH, Space.DISPARITY, True, wanted), expected, atol=2e-4)


def test_a_map_without_its_shift_gets_the_assumed_ratio_of_far_and_near() -> None:
    relative = as_relative_depth(-4.0 + 0.5 * np.log(DEPTH), Space.LOG_DEPTH, shift_known=False)
    near, far = np.quantile(relative, [0.02, 0.98])
    assert far / near == pytest.approx(10.0, rel=0.01)
    # by hand: the middle of the log range is the geometric mean of 1 and 10
    middle = np.exp((np.log(np.quantile(DEPTH, 0.02)) + np.log(np.quantile(DEPTH, 0.98))) / 2)
    at = np.abs(DEPTH - middle).argmin()
    assert relative.flat[at] == pytest.approx(np.sqrt(10.0), rel=0.02)


def test_near_stays_near() -> None:
    for space in Space:
        values = space.from_depth(DEPTH)
        for wanted in Space:
            shown = in_space(values, space, False, wanted)
            assert (shown[0, 0] > shown[-1, -1]) == wanted.near_is_high


def test_what_is_endlessly_far_in_disparity_is_the_far_end() -> None:
    disparity = 1.0 / DEPTH
    disparity[-2:] = 0.0  # sky
    shown = in_space(disparity, Space.DISPARITY, True, Space.SQRT_DISPARITY)
    assert np.isfinite(shown).all()
    assert shown[-1, -1] == pytest.approx(shown.min())
