"""Sweeps, images and odometry that do not come at the same time: what is used, how right it is, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drive import Drive, header, rel_error

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.sensors.sparse import SparseDepth
from leadline.streaming import motion
from leadline.streaming.evidence import ScaleSource
from leadline.streaming.frames import Frame, Metric
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings

SETTINGS = StreamSettings(sync_tolerance_s=0.06, max_depth_m=120.0)


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive.rendered(3, frames=10)


def surroundings(drive: Drive) -> Surroundings:
    found = Surroundings(lambda source, error: pytest.fail(f"{source}: {error}"))
    found.add_transforms(drive.mounting(), is_static=True)
    found.info = drive.info(0)
    return found


def frame(drive: Drive, around: Surroundings, index: int, settings: StreamSettings = SETTINGS) -> Frame:
    return around.frame(header(drive.stamp_ns(index), "optical"), drive.rgb(index), around.info, settings)


def depth_of(
    drive: Drive, source: ScaleSource, given: Frame, index: int, settings: StreamSettings = SETTINGS
) -> Metric:
    """Metres from a map that is right but for smooth errors of some percent."""
    truth = np.where(drive.depth_m(index) > 0, drive.depth_m(index), 300.0)
    bumps = np.random.default_rng(index).normal(0, 0.15, (24, 32))
    values = 0.3 * np.log(truth) + 0.05 * np.kron(bumps, np.ones((8, 8)))
    return source.metric(given, DepthPrediction(values.astype(np.float32), Space.LOG_DEPTH), settings)


@pytest.mark.parametrize("by", ["odometry", "images"])
def test_between_sweeps_depth_is_nearly_as_good_as_with_one(drive: Drive, by: str) -> None:
    """10 Hz LiDAR, 30 Hz camera, walking through a street."""
    around, source = surroundings(drive), ScaleSource()
    errors: dict[bool, list[float]] = {True: [], False: []}
    for index in range(len(drive)):
        if by == "odometry":
            around.add_transforms(drive.odometry(index), is_static=False)
        if index % 3 == 0:
            around.add_points(drive.cloud(index))
        found = depth_of(drive, source, frame(drive, around, index), index)
        assert found.prediction is not None
        assert found.warnings == ()
        if index % 3:
            assert ("TF through odom" if by == "odometry" else "images' own motion") in found.evidence
        errors[index % 3 == 0].append(rel_error(found.prediction.depth_m, drive.depth_m(index)))
    assert np.mean(errors[False]) <= 1.5 * np.mean(errors[True]), errors


def test_sweeps_of_the_images_time_cost_no_tracking(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Camera and LiDAR in step: nobody looks for features until an image comes that has to carry a sweep."""
    sought: list[int] = []
    found = motion._corners
    monkeypatch.setattr(motion, "_corners", lambda *given: sought.append(1) or found(*given))
    around, source = surroundings(drive), ScaleSource()
    for index in range(3):
        around.add_points(drive.cloud(index))
        assert depth_of(drive, source, frame(drive, around, index), index).prediction is not None
    assert not sought
    later = depth_of(drive, source, frame(drive, around, 3), 3)
    assert "images' own motion" in later.evidence
    assert len(sought) == 1


def test_points_that_nothing_can_carry_are_left_out_and_the_held_scale_says_so(drive: Drive) -> None:
    around, source = surroundings(drive), ScaleSource()
    around.add_points(drive.cloud(0))
    first = depth_of(drive, source, frame(drive, around, 0), 0)
    assert first.warnings == ()
    blank = replace(frame(drive, around, 3), rgb=np.zeros_like(drive.rgb(3)))  # nothing to track
    held = source.metric(blank, DepthPrediction(np.ones(blank.rgb.shape[:2], np.float32), Space.LOG_DEPTH), SETTINGS)
    assert any("nothing tells how the camera moved" in warning for warning in held.warnings)


def test_late_odometry_is_extrapolated_and_said_and_odometry_that_is_lost_is_not_used(drive: Drive) -> None:
    around = surroundings(drive)
    for index in range(5):
        around.add_transforms(drive.odometry(index), is_static=False)
    around.add_points(drive.cloud(4))
    late = frame(drive, around, 8)  # 133 ms after the last odometry
    assert late.sweep is not None
    assert late.sweep.moved_by == "TF through odom"
    assert late.sweep.extrapolated_s == pytest.approx(4 / 30, abs=1e-3)
    assert any("133 ms late and was extrapolated" in warning for warning in late.warnings)
    pose = [drive.wide[index].camera_to_world for index in (4, 8)]
    expected = np.linalg.inv(pose[1]) @ pose[0]
    exact = around.transforms.lookup("optical", "lidar", 0).motion
    np.testing.assert_allclose(late.sweep.to_camera, expected @ exact, atol=0.03)

    named = replace(SETTINGS, fixed_frame="map", hold_s=1.0)
    lost = frame(drive, around, 8, named)
    assert lost.sweep is not None
    assert lost.sweep.moved_by == ""
    assert any("fixed_frame 'map' is not used: no transform from 'optical'" in warning for warning in lost.warnings)


def test_an_image_waits_for_odometry_and_for_its_sweep(drive: Drive) -> None:
    around = surroundings(drive)
    assert around.awaits(header(drive.stamp_ns(5), "optical"), SETTINGS) == ""
    for index in range(3):
        around.add_transforms(drive.odometry(index), is_static=False)
    assert around.awaits(header(drive.stamp_ns(5), "optical"), SETTINGS) == "tf"
    assert around.awaits(header(drive.stamp_ns(2), "optical"), SETTINGS) == ""
    for index in (0, 3, 6):
        around.add_points(drive.cloud(index))
    assert around.awaits(header(drive.stamp_ns(9), "optical"), SETTINGS) == "points"
    around.add_points(drive.cloud(9))
    for index in range(3, 10):
        around.add_transforms(drive.odometry(index), is_static=False)
    assert around.awaits(header(drive.stamp_ns(9), "optical"), SETTINGS) == ""


def test_a_time_jump_forgets_clouds_and_odometry(drive: Drive) -> None:
    around = surroundings(drive)
    around.add_transforms(drive.odometry(3), is_static=False)
    around.add_points(drive.cloud(3))
    around.forget_time()
    after = frame(drive, around, 3)
    assert after.sweep is None
    assert after.pose is None
    assert around.transforms.lookup("optical", "lidar", 0) is not None


@pytest.mark.parametrize(("count", "doubted"), [(14, True), (60, False)])
def test_a_scale_from_few_triangulated_points_is_doubted(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, count: int, doubted: bool
) -> None:
    truth, source = drive.depth_m(0), ScaleSource()
    v, u = (places[:: len(places) // count][:count] for places in np.nonzero((truth > 0) & (truth < 20)))
    tracked = SparseDepth(u, v, truth[v, u], truth.shape, sigma_m=0.05 * truth[v, u])
    monkeypatch.setattr(ScaleSource, "_tracked", lambda *_: tracked)
    found = depth_of(drive, source, frame(drive, surroundings(drive), 0), 0)
    assert found.prediction is not None
    assert found.prediction.uncertainty is not None
    known = found.prediction.depth_m < 100
    relative = float(np.median((found.prediction.uncertainty / found.prediction.depth_m)[known]))
    assert (relative > 0.24) == doubted
    assert any("only 14 points have enough parallax" in one for one in found.warnings) == doubted
