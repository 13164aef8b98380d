import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leadline.completion import CalibratedCamera, project_points, read_calibration, read_points
from leadline.errors import InputError
from leadline.sensors.pinhole import Pinhole

CAMERA = CalibratedCamera.from_pinhole(Pinhole(160, 120, 100.0))
EVAL_DEV = Path(os.environ.get("LEADLINE_EVAL_DEV", Path(__file__).parents[2].parent / "shared" / "eval_dev"))


def test_the_nearest_return_of_a_pixel_wins():
    cloud = np.array([[0.0, 0, 5], [0, 0, 3], [0, 0, 4]])
    sparse = project_points(cloud, CAMERA)
    assert len(sparse) == 1
    assert sparse.depth_m[0] == 3
    assert np.count_nonzero(sparse.map()) == 1


def test_what_is_dropped_is_counted():
    cloud = np.array([[0, 0, 2], [0, 0, -2], [50, 0, 2], [0, 0.5, 300], [np.nan, 0, np.nan]], dtype=np.float64)
    sparse = project_points(cloud, CAMERA, max_range_m=100)
    assert len(sparse) == 1
    assert sparse.dropped["behind the camera"] == 1
    assert sparse.dropped["outside of the image"] == 1
    assert sparse.dropped["out of range"] == 1
    assert sparse.dropped["not finite"] == 1


def test_occlusion_filter_drops_what_a_nearer_surface_hides():
    u, v = np.meshgrid(np.arange(10, 150, 4), np.arange(10, 110, 4))
    pixels = np.stack([u.ravel(), v.ravel()], 1)
    wall = CAMERA.unproject(pixels, np.full(len(pixels), 8.0))
    pole_pixels = np.stack([np.full(100, 81), np.arange(10, 110)], 1)
    pole = CAMERA.unproject(pole_pixels, np.full(100, 2.0))
    kept = project_points(np.vstack([wall, pole]), CAMERA)
    near_pole = (kept.depth_m > 5) & (np.abs(kept.u - 81) <= 1)
    assert not near_pole.any()
    assert np.count_nonzero(kept.depth_m > 5) > 0.85 * len(pixels)
    everything = project_points(np.vstack([wall, pole]), CAMERA, occlusion=False)
    assert len(everything) > len(kept)


def test_a_slanted_floor_is_not_taken_for_occlusion():
    v, u = np.mgrid[70:120, 0:160]
    floor = CAMERA.unproject(np.stack([u.ravel(), v.ravel()], 1), (100 * 1.5 / (v - 59.5)).ravel())
    assert project_points(floor, CAMERA).dropped["hidden behind a nearer surface"] == 0


def test_rasterised_at_the_size_asked_for():
    cloud = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 6], (500, 3))
    sparse = project_points(cloud, CAMERA, size=(320, 240), occlusion=False)
    assert sparse.size == (240, 320)
    expected, _ = CAMERA.resized(320, 240).project(cloud[:1])
    at = np.flatnonzero((sparse.u == np.rint(expected[0, 0])) & (sparse.v == np.rint(expected[0, 1])))
    assert at.size == 1


def test_empty_cloud_gives_an_empty_result():
    assert len(project_points(np.zeros((0, 4), np.float32), CAMERA)) == 0
    assert len(project_points(np.full((5, 3), np.nan), CAMERA)) == 0


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((4, 2)), np.array([["a"] * 3])])
def test_what_is_no_cloud_is_refused(wrong):
    with pytest.raises(InputError):
        project_points(wrong, CAMERA)


@settings(max_examples=50)
@given(
    cloud=hnp.arrays(np.float32, st.tuples(st.integers(0, 40), st.integers(3, 5)), elements=st.floats(width=32)),
    distorted=st.booleans(),
)
def test_any_numbers_give_valid_points(cloud, distorted):
    camera = (
        CalibratedCamera(160, 120, CAMERA.matrix, "plumb_bob", np.array([-0.3, 0.1, 0, 0, 0])) if distorted else CAMERA
    )
    sparse = project_points(cloud, camera)
    assert np.isfinite(sparse.depth_m).all()
    assert (sparse.depth_m > 0).all()
    assert ((sparse.u >= 0) & (sparse.u < 160) & (sparse.v >= 0) & (sparse.v < 120)).all()
    assert len(sparse) + sum(sparse.dropped.values()) <= len(cloud)


def test_real_frame_projects_to_the_expected_depth(tmp_path):
    frame = EVAL_DEV / "lidar_kitti_000000"
    if not frame.is_dir():
        pytest.skip("evaluation frames are not here (LEADLINE_EVAL_DEV)")
    archive = np.load(frame / "points.npz")
    stored = np.asarray(archive[archive.files[0]], np.float32)
    stored[:, :4].astype("<f4").tofile(tmp_path / "scan.bin")
    calibration = read_calibration(frame / "calib.json")
    sparse = project_points(
        read_points(tmp_path / "scan.bin"), calibration.camera, calibration.lidar_to_camera, occlusion=False
    )
    expected_file = np.load(frame / "expected_depth_native.npz")
    expected = expected_file[expected_file.files[0]]
    found = sparse.map()
    assert found.shape == expected.shape
    both = (found > 0) & (expected > 0)
    assert np.abs(found - expected)[both].max() < 1e-3
    assert np.count_nonzero((found > 0) != (expected > 0)) == 0
