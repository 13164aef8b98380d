from __future__ import annotations

import numpy as np
import pytest

from leadline import DepthPrediction, Space
from leadline.video.sequence import align_to

SMOOTH = np.add.outer(np.linspace(0, 1, 60), np.linspace(0, 2, 80)).astype(np.float32)


def frame(values: np.ndarray) -> DepthPrediction:
    return DepthPrediction(
        values.astype(np.float32), Space.LOG_DEPTH, uncertainty=np.full(values.shape, 0.1, np.float32)
    )


def test_scale_and_shift_are_undone():
    aligned = align_to(frame(0.8 * SMOOTH - 0.3), frame(SMOOTH))
    np.testing.assert_allclose(aligned.values, SMOOTH, atol=1e-4)
    np.testing.assert_allclose(aligned.uncertainty, 0.125, rtol=1e-4)


def test_a_moving_object_does_not_pull_the_background():
    moved = 0.8 * SMOOTH - 0.3
    moved[10:30, 10:30] -= 2.0
    aligned = align_to(frame(moved), frame(SMOOTH))
    assert np.abs(aligned.values[40:] - SMOOTH[40:]).max() < 0.02


@pytest.mark.parametrize("other", [-SMOOTH, np.zeros_like(SMOOTH), np.random.default_rng(0).normal(size=SMOOTH.shape)])
def test_a_cut_is_not_aligned(other):
    np.testing.assert_array_equal(align_to(frame(SMOOTH), frame(other)).values, SMOOTH)


def test_another_size_is_a_cut():
    np.testing.assert_array_equal(align_to(frame(SMOOTH), frame(SMOOTH[:30])).values, SMOOTH)
