"""Films: flow, pose and depth must tell one story, and one that an optical-flow method sees in the pictures, too."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from leadline.errors import InputError
from leadline.scenes import FilmFrame, render_film

SIZE = (72, 96)


def film(seed: int, frames: int, **options: object) -> list[FilmFrame]:
    return list(render_film(seed, frames, *SIZE, supersample=1.0, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def walk() -> list[FilmFrame]:
    return film(5, 4, layout="room", path="walk")


def test_the_camera_goes_as_far_as_it_is_asked_to() -> None:
    forward = film(5, 3, layout="street", path="forward", pace_m=0.15, movers=0)
    steps = [np.linalg.norm(b.camera_to_world[:3, 3] - a.camera_to_world[:3, 3]) for a, b in pairwise(forward)]
    np.testing.assert_allclose(steps, 0.15, rtol=1e-6)


def pixel_grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), axis=-1).astype(np.float64)


def test_still_points_move_as_depth_and_pose_say(walk):
    for before, now in pairwise(walk):
        inverse = np.linalg.inv(now.intrinsics)
        rays = np.dstack([pixel_grid(), np.ones(SIZE)]) @ inverse.T
        world = np.dstack([rays * now.depth_m[..., None], np.ones(SIZE)]) @ now.camera_to_world.T
        local = world @ np.linalg.inv(before.camera_to_world).T
        seen = local[..., :3] @ before.intrinsics.T
        still = now.valid & ~now.moving & now.seen
        assert still.mean() > 0.4
        error = seen[..., :2] / seen[..., 2:] - pixel_grid() - now.flow
        assert np.abs(error[still]).max() < 1e-2
        # and there the frame before measured the same depth
        place = np.rint(pixel_grid() + now.flow).astype(int)
        column, row = place[..., 0].clip(0, SIZE[1] - 1), place[..., 1].clip(0, SIZE[0] - 1)
        off = np.abs(before.depth_m[row, column] - local[..., 2])[still] / local[..., 2][still]
        assert np.median(off) < 0.01


def test_optical_flow_of_the_pictures_agrees():
    before, now = render_film(7, 2, 120, 160, layout="room", path="walk", supersample=1.0)
    solver = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)
    solver.setFinestScale(0)
    grey = [cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) for frame in (now, before)]
    flow = solver.calc(*grey, np.zeros((120, 160, 2), np.float32))
    for part in (now.seen & now.moving, now.seen & ~now.moving):
        error = np.linalg.norm(flow - now.flow, axis=-1)[part]
        assert np.median(error) < 0.7 * np.median(np.linalg.norm(now.flow, axis=-1)[part])


def test_movers_move_and_their_flow_is_theirs(walk):
    share = [frame.moving.mean() for frame in walk]
    assert min(share) > 0.005
    still = film(5, 3, layout="room", path="still")
    for frame in still[1:]:
        assert np.abs(frame.flow[~frame.moving & frame.valid]).max() < 1e-3
        assert np.median(np.linalg.norm(frame.flow[frame.moving], axis=-1)) > 0.2


def test_a_cut_carries_nothing_over():
    frames = film(2, 4, shots=2)
    assert [frame.shot for frame in frames] == [0, 0, 1, 1]
    assert frames[1].seen.mean() > 0.3
    assert not frames[2].seen.any()
    assert [round(frame.time_s * 30) for frame in frames] == [0, 1, 2, 3]


def test_a_step_halves_the_distance_of_one_object():
    frames = film(11, 4, layout="corridor", path="still", movers=1, step_at=2)
    near = [float(np.median(frame.depth_m[frame.moving])) for frame in frames]
    assert near[0] == near[1]
    assert near[2] == near[3]
    assert near[2] == pytest.approx(near[0] / 2, rel=0.2)


def test_exposure_swings_and_the_look_stays():
    dark, bright = film(3, 4, path="still", movers=0), film(3, 4, path="still", movers=0, exposure=1.0)
    np.testing.assert_array_equal(dark[1].depth_m, bright[1].depth_m)
    assert bright[1].exposure == pytest.approx(1.0)
    assert bright[1].rgb.mean() > dark[1].rgb.mean() + 10
    assert bright[3].rgb.mean() < dark[3].rgb.mean() - 10
    means = [frame.rgb.mean() for frame in dark]
    assert np.ptp(means) < 1.0


def test_the_seed_decides_everything(walk):
    again = film(5, 4, layout="room", path="walk")
    for a, b in zip(walk, again, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.flow, b.flow)


@pytest.mark.parametrize("wrong", [{"layout": "moon"}, {"path": "up"}, {"shots": 9}])
def test_what_cannot_be_filmed_is_said(wrong):
    with pytest.raises(InputError):
        film(0, 4, **wrong)
