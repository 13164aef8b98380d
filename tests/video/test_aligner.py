"""Scale and shift of a film: what each frame chose anew is undone, and the film does not flatten."""

from __future__ import annotations

import known_films as films
import numpy as np
import pytest

from leadline.video.aligner import TemporalAligner, scale_and_shift

SMOOTH = np.add.outer(np.linspace(0, 1, 60), np.linspace(0, 2, 80)).astype(np.float32)


def test_scale_and_shift_are_undone():
    fit = scale_and_shift(0.8 * SMOOTH - 0.3, SMOOTH)
    assert not fit.cut
    np.testing.assert_allclose(fit.apply(0.8 * SMOOTH - 0.3), SMOOTH, atol=1e-4)


def test_a_moving_object_does_not_pull_the_background():
    moved = 0.8 * SMOOTH - 0.3
    moved[10:30, 10:30] -= 2.0
    aligned = scale_and_shift(moved, SMOOTH).apply(moved)
    assert np.abs(aligned[40:] - SMOOTH[40:]).max() < 0.02


@pytest.mark.parametrize(
    "other", [-SMOOTH, np.zeros_like(SMOOTH), np.random.default_rng(0).normal(size=SMOOTH.shape).astype(np.float32)]
)
def test_a_cut_is_not_aligned(other):
    aligner = TemporalAligner()
    aligner.align(other)
    np.testing.assert_array_equal(aligner.align(SMOOTH), SMOOTH)


def test_another_size_is_a_cut():
    aligner = TemporalAligner()
    aligner.align(SMOOTH[:30])
    np.testing.assert_array_equal(aligner.align(SMOOTH), SMOOTH)


def test_a_long_film_keeps_its_relief():
    rng = np.random.default_rng(0)
    scene = films.blobs(rng, (60, 80), 8.0)
    aligner = TemporalAligner()
    for _ in range(300):
        aligned = aligner.align((scene + 0.1 * films.blobs(rng, (60, 80), 2.0)).astype(np.float32))
    slope = float(np.polyfit(scene.ravel(), aligned.ravel(), 1)[0])
    assert slope == pytest.approx(1.0, abs=0.05)
