"""Flicker of sequences whose flicker is known, and of pictures that move."""

from __future__ import annotations

import layouts
import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.eval_command import command
from leadline.errors import InputError
from leadline.evaluation.video import flicker, lag_frames, opw, pose_error, temporal_error


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


def sliding(frames: int = 3) -> list[np.ndarray]:
    """A wall that comes 5 % nearer with every frame, straight ahead."""
    return [np.full((40, 60), 4.0 * 0.95**i) for i in range(frames)]


def test_temporal_error_by_hand() -> None:
    before, now = sliding(2)
    flow, seen = np.zeros((40, 60, 2), np.float32), np.ones((40, 60), bool)
    assert temporal_error(now, before, now, before, flow, seen) == pytest.approx(0.0, abs=1e-6)
    # a constant factor of 1.1 in both is no temporal error relative to itself; one in the later frame alone is 10 %
    assert temporal_error(1.1 * now, 1.1 * before, now, before, flow, seen) == pytest.approx(0.0, abs=1e-6)
    assert temporal_error(1.1 * now, before, now, before, flow, seen) == pytest.approx(0.1, rel=1e-5)
    assert temporal_error(now, before, now, before, flow, ~seen) is None


def test_pose_error_by_hand() -> None:
    before, now = sliding(2)
    intrinsics = np.array([[50.0, 0, 29.5], [0, 50.0, 19.5], [0, 0, 1]])
    start, moved = np.eye(4), np.eye(4)
    moved[2, 3] = float(before[0, 0] - now[0, 0])  # forward
    valid = np.ones((40, 60), bool)
    assert pose_error(now, before, intrinsics, moved, start, valid) == pytest.approx(0.0, abs=1e-6)
    assert pose_error(1.05 * now, before, intrinsics, moved, start, valid) == pytest.approx(0.05, rel=0.1)


def test_opw_counts_only_what_looks_the_same() -> None:
    flow, seen = np.zeros((40, 60, 2), np.float32), np.ones((40, 60), bool)
    grey = np.full((40, 60, 3), 128, np.uint8)
    assert opw(np.ones((40, 60)), np.zeros((40, 60)), grey, grey, flow, seen) == pytest.approx(1.0)
    other = grey.copy()
    other[:, :30] = 255
    before = np.where(np.arange(60) < 30, -5.0, 0.0)[None].repeat(40, 0)
    assert opw(np.zeros((40, 60)), before, other, grey, flow, seen) < 1e-4


def test_lag_by_hand() -> None:
    assert lag_frames([1, 1, 1, 2, 2, 2], 3) == 0
    assert lag_frames([1, 1, 1, 1.2, 2, 2], 3) == 1
    assert lag_frames([1, 1, 1, 1.2, 1.4, 1.6, 2.0, 2.0], 3) == 2
    assert lag_frames([1.0, 1.0, 1.0], 1) is None
    with pytest.raises(InputError, match="step"):
        lag_frames([1.0, 2.0], 2)


@pytest.mark.slow
def test_the_command_measures_films() -> None:
    run = CliRunner().invoke(command, ["video", "-m", "fiffdepth-mini", "--frames", "4", "--width", "96"])
    assert run.exit_code == 0, run.output
    assert run.output.count("steady") == 5
