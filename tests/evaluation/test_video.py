"""Flicker of sequences whose flicker is known, and of pictures that move."""

from __future__ import annotations

import layouts
import numpy as np
import pytest

from leadline.errors import InputError
from leadline.evaluation.video import flicker


def test_by_hand() -> None:
    ramp = np.linspace(0, 1, 10_000).reshape(100, 100)
    result = flicker([ramp, ramp + 0.096, ramp + 0.096])
    span = np.ptp(np.percentile(np.stack([m[::4, ::4] for m in (ramp, ramp + 0.096, ramp + 0.096)]), [2, 98]))
    assert result.per_pair == (pytest.approx(0.096 / span, rel=1e-5), 0.0)
    assert result.mean == pytest.approx(0.048 / span, rel=1e-5)
    assert result.followed == 1.0


def test_scale_and_shift_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(40, 40)) for _ in range(3)]
    assert flicker(maps).mean == pytest.approx(flicker([3 * m - 7 for m in maps]).mean, rel=1e-5)


def test_a_constant_sequence_does_not_flicker() -> None:
    assert flicker([np.ones((8, 8))] * 3).mean == 0.0


def test_motion_is_followed() -> None:
    wide = layouts.picture(120, 200, 4)
    noise = np.random.default_rng(1).integers(0, 60, (120, 200, 1))
    wide = np.clip(wide.astype(int) // 2 + noise, 0, 255).astype(np.uint8)
    depth = np.sin(np.arange(200) / 9)[None, :].repeat(120, 0)
    images = [np.ascontiguousarray(wide[:, x : x + 160]) for x in (0, 4, 8)]
    maps = [depth[:, x : x + 160] for x in (0, 4, 8)]
    still, followed = flicker(maps), flicker(maps, images)
    assert followed.mean is not None
    assert still.mean is not None
    assert followed.mean < 0.1 * still.mean
    assert followed.followed > 0.8


def test_complaints() -> None:
    with pytest.raises(InputError, match="two maps"):
        flicker([np.ones((4, 4))])
    with pytest.raises(InputError, match="two maps"):
        flicker([np.ones((4, 4)), np.ones((4, 5))])
    with pytest.raises(InputError, match="one image per map"):
        flicker([np.ones((4, 4))] * 2, [np.zeros((4, 4, 3), np.uint8)])
