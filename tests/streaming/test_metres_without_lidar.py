"""Metres from motion and from the ground: no LiDAR, only poses, gravity, or the robot's own dimensions."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drive import header, transform
from scipy.spatial.transform import Rotation

from leadline.completion.ground import GroundFit, ground_fit
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.ground import entered_ground
from leadline.sensors.pinhole import Pinhole
from leadline.streaming.by_motion import points_by_motion
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings
from leadline.streaming.tracks import Parallax, TrackedPoints
from leadline.streaming.triangulation import triangulate

WIDTH, HEIGHT = 320, 240
CAMERA = CalibratedCamera.from_pinhole(Pinhole(WIDTH, HEIGHT, 260.0))


def look_at_wall(pose: np.ndarray, texture: np.ndarray, distance_m: float = 4.0) -> np.ndarray:
    """What the camera at ``pose`` sees of a textured wall at z = distance, drawn by OpenCV from the plane's homography."""
    pixels_per_m = 120.0
    wall_to_world = np.array([[1 / pixels_per_m, 0, -5.0], [0, 1 / pixels_per_m, -5.0], [0, 0, distance_m]])
    to_camera = np.linalg.inv(pose)
    homography = CAMERA.matrix @ (to_camera[:3, :3] @ wall_to_world + np.outer(to_camera[:3, 3], [0, 0, 1]))
    grey = cv2.warpPerspective(texture, homography, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(np.dstack([grey] * 3))


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (150, 150), np.uint8), (1200, 1200), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(coarse, (0, 0), 1.5)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.3, 0.1, 1.0)])
def test_tracked_points_have_the_walls_distance_and_know_how_well(texture: np.ndarray, direction: tuple) -> None:
    tracks, way = TrackedPoints(), np.array(direction) / np.linalg.norm(direction)
    found = None
    for step in range(16):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("y", 0.3 * step, degrees=True).as_matrix()
        pose[:3, 3] = 0.05 * step * way
        tracks.add(look_at_wall(pose, texture), CAMERA, pose)
        found = tracks.parallax(CAMERA)
    found = found.subset(found.sigma < 0.15 * found.inverse_depth)
    rays = CAMERA.unproject(np.stack([found.u, found.v], 1), np.ones(len(found.u)))
    to_wall = (pose[:3, :3] @ rays.T)[2]
    truth = to_wall / (4.0 - pose[2, 3])
    error = np.abs(found.inverse_depth - truth)
    assert len(found.u) > 60
    assert np.median(error / truth) < 0.03
    assert np.mean(error < 2 * found.sigma) > 0.8


def test_turning_on_the_spot_and_standing_still_give_no_metres(texture: np.ndarray) -> None:
    turning, standing = TrackedPoints(), TrackedPoints()
    for step in range(12):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("y", 1.0 * step, degrees=True).as_matrix()
        turning.add(look_at_wall(pose, texture), CAMERA, pose)
        standing.add(look_at_wall(np.eye(4), texture), CAMERA, np.eye(4))
    for tracks in (turning, standing):
        found = tracks.parallax(CAMERA)
        assert not (found.sigma < 0.5 * found.inverse_depth).any()
        assert "the robot must move" in points_by_motion(relative(np.full((HEIGHT, WIDTH), 4.0)), found)


def test_odometry_that_jumps_voids_what_was_gathered(texture: np.ndarray) -> None:
    tracks = TrackedPoints()
    for step in range(12):
        pose = np.eye(4)
        pose[0, 3] = 0.05 * step
        tracks.add(look_at_wall(pose, texture), CAMERA, pose)
    assert len(tracks.parallax(CAMERA).u) > 60
    elsewhere = pose.copy()
    elsewhere[0, 3] += 30.0  # a loop was closed
    tracks.add(look_at_wall(pose, texture), CAMERA, elsewhere)
    assert len(tracks.parallax(CAMERA).u) == 0


def test_triangulation_finds_what_was_put_in_however_far() -> None:
    rng = np.random.default_rng(0)
    inverse, sigma_px = rng.uniform(0.0, 0.5, 400), 0.4
    now = rng.uniform(-0.5, 0.5, (400, 2))
    to_view = np.tile(np.eye(4), (8, 1, 1))
    to_view[:, :3, 3] = np.linspace([-0.5, -0.02, 0.8], [0, 0, 0.1], 8)
    to_view[:, :3, :3] = Rotation.from_euler("y", np.linspace(-3, 0, 8)[:, None], degrees=True).as_matrix()
    rays = np.concatenate([now, np.ones((400, 1))], axis=1)
    places = np.einsum("vij,nj->nvi", to_view[:, :3, :3], rays) + inverse[:, None, None] * to_view[:, :3, 3]
    seen = places[..., :2] / places[..., 2:] + rng.normal(0, sigma_px / 260, (400, 8, 2))
    seen[::5, :3] = np.nan  # found later
    whitening = np.tile(260 / sigma_px * np.eye(2), (400, 1, 1))
    found = triangulate(seen, whitening, to_view, now + rng.normal(0, sigma_px / 260, (400, 2)))
    off = np.abs(found.inverse_depth - inverse) / found.sigma
    assert np.mean(off < 1) > 0.68  # views share errors in pictures, which these do not: sigma is cautious
    assert np.mean(off < 3) > 0.99
    assert abs(float(np.median((found.inverse_depth - inverse) / found.sigma))) < 0.15
    assert np.median(found.error) == pytest.approx(1.0, abs=0.25)


def test_near_points_stand_against_the_map_and_far_ones_lean_on_it() -> None:
    seen = np.tile(np.linspace(40.0, 2.0, HEIGHT)[:, None], (1, WIDTH))
    truth = seen.copy()
    truth[160:, 200:] = 0.6  # which the map does not see
    v, u = (grid.ravel() for grid in np.meshgrid(np.arange(12, 230, 12), np.arange(12, 310, 12), indexing="ij"))
    rng = np.random.default_rng(1)
    sigma = 0.01 + 0.01 / truth[v, u]  # of inverse depth: 40 % of it at 40 m
    found = points_by_motion(relative(seen), Parallax(u, v, 1 / truth[v, u] + rng.normal(0, sigma), sigma))
    assert not isinstance(found, str)
    there = truth[found.v, found.u]
    error = np.abs(np.log(found.depth_m / there))
    assert np.median(error[there < 1]) < 0.05
    far = there > 30
    assert far.sum() > 30
    assert np.median(error[far]) < 0.2
    assert np.median(found.sigma_m[far] / found.depth_m[far]) > 0.1


def test_the_outline_of_something_plain_says_how_far_it_is() -> None:
    """A black disc 2 m away, which the map puts 5 m away; only its rim shows features, beside those of the wall behind."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disc = np.hypot(rows - 110, columns - 170) < 50
    seen = np.where(disc, 5.0, np.linspace(20.0, 6.0, HEIGHT)[:, None] * np.ones(WIDTH))
    v, u = (grid.ravel() for grid in np.meshgrid(np.arange(12, 230, 12), np.arange(12, 310, 12), indexing="ij"))
    wall = np.hypot(v - 110, u - 170) > 60
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rim_v, rim_u = np.rint(110 + 51.5 * np.sin(angles)).astype(int), np.rint(170 + 51.5 * np.cos(angles)).astype(int)
    of_disc = np.arange(40) % 4 > 0  # the others are of the wall
    rim_m = np.where(of_disc, 2.0, seen[rim_v, rim_u])
    u, v = np.concatenate([u[wall], rim_u]), np.concatenate([v[wall], rim_v])
    inverse = 1 / np.concatenate([seen[v[: wall.sum()], u[: wall.sum()]], rim_m])
    found = points_by_motion(relative(seen), Parallax(u, v, inverse, 0.05 * inverse))
    assert not isinstance(found, str)
    on_disc = disc[found.v, found.u]
    assert on_disc.sum() >= 25
    np.testing.assert_allclose(found.depth_m[on_disc], 2.0, atol=0.01)
    assert found.depth_m[~on_disc].min() > 5.5
    assert len(np.unique(found.v * WIDTH + found.u)) == len(found)


def ground_scene(pitch_deg: float, roll_deg: float, height_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(depth of flat ground and a wall 12 m away, camera in the robot's axes) of a camera that looks down and leans."""
    optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    lean = Rotation.from_euler("xyz", [roll_deg, pitch_deg, 0], degrees=True).as_matrix()
    motion = np.eye(4)
    motion[:3, :3], motion[2, 3] = lean @ optical, height_m
    rays = CAMERA.cloud(np.ones((HEIGHT, WIDTH))).reshape(-1, 3)
    descent = -(motion[:3, :3] @ rays.T)[2]
    ground_m = np.where(descent > 1e-3, height_m / np.maximum(descent, 1e-3), np.inf)
    return np.minimum(ground_m, 12.0).reshape(HEIGHT, WIDTH), motion


def relative(truth_m: np.ndarray) -> DepthPrediction:
    noise = np.random.default_rng(0).normal(0, 0.002, truth_m.shape)
    return DepthPrediction((0.4 * np.log(truth_m) - 0.2 + noise).astype(np.float32), Space.LOG_DEPTH)


@pytest.mark.parametrize("source", ["tf", "imu"])
def test_ground_by_tf_and_by_gravity_knows_pitch_and_roll(source: str) -> None:
    truth, motion = ground_scene(pitch_deg=12.0, roll_deg=6.0, height_m=0.9)
    around = Surroundings(lambda kind, error: pytest.fail(f"{kind}: {error}"))
    settings = StreamSettings()
    if source == "tf":
        around.add_transforms(transform("base_footprint", "optical", 0, motion), is_static=True)
    else:
        mounting = np.eye(4)
        mounting[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
        around.add_transforms(transform("imu", "optical", 0, mounting), is_static=True)
        up_in_imu = mounting[:3, :3] @ (motion[:3, :3].T @ np.array([0, 0, 1.0]))
        felt = dict(zip("xyz", 9.81 * up_in_imu, strict=True))
        for step in range(100):
            stamp = 5_000_000_000 + 10_000_000 * step
            around.add_imu(SimpleNamespace(header=header(stamp, "imu"), linear_acceleration=SimpleNamespace(**felt)))
        settings = StreamSettings(camera_height_m=0.9, use_imu=True)
    frame = around.frame(header(6_000_000_000, "optical"), np.zeros((HEIGHT, WIDTH, 3), np.uint8), None, settings)
    assert frame.ground is not None
    assert ("gravity" if source == "imu" else "base_footprint") in frame.ground.source
    assert frame.ground.height_m == pytest.approx(0.9)
    found = ground_fit(relative(truth), CAMERA, frame.ground)
    assert isinstance(found, GroundFit)
    depth_m = Space.LOG_DEPTH.to_depth(found.fit.scale * relative(truth).values + found.fit.shift)
    error = np.median(np.abs(depth_m - truth) / truth)
    assert error < 0.03
    assert found.relative_sigma > error


def test_what_is_no_ground_is_refused_and_a_wrong_pitch_is_within_the_sigma() -> None:
    truth, _ = ground_scene(pitch_deg=12.0, roll_deg=0.0, height_m=0.9)
    nonsense = DepthPrediction(np.random.default_rng(1).normal(size=truth.shape).astype(np.float32), Space.LOG_DEPTH)
    refused = ground_fit(nonsense, CAMERA, entered_ground(0.9, 12.0))
    assert isinstance(refused, str)
    assert "flat ground" in refused
    for pitch_deg in (10.0, 14.0):  # two degrees off: one standard deviation of what people enter
        found = ground_fit(relative(truth), CAMERA, entered_ground(0.9, pitch_deg))
        if isinstance(found, GroundFit):
            depth_m = Space.LOG_DEPTH.to_depth(found.fit.scale * relative(truth).values + found.fit.shift)
            assert np.median(np.abs(depth_m - truth) / truth) < 2 * found.relative_sigma
