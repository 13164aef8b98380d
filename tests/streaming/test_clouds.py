"""Point cloud layouts."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.errors import InputError
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.pinhole import Pinhole
from leadline.streaming.ros.clouds import (
    CloudFilter,
    Field,
    cloud_from_depth,
    decode_points,
    filtered_cloud,
    moved_cloud,
)

POINTS = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)


def cloud_bytes(layout: list[tuple[str, str, int]], point_step: int, shape: tuple[int, int], row_pad: int, order: str):
    dtype = np.dtype(
        {
            "names": [name for name, _, _ in layout],
            "formats": [order + kind for _, kind, _ in layout],
            "offsets": [offset for _, _, offset in layout],
            "itemsize": point_step,
        }
    )
    cloud = np.zeros(shape, dtype)
    for axis, name in enumerate("xyz"):
        cloud[name] = POINTS[:, axis].reshape(shape)
    rows = np.zeros((shape[0], shape[1] * point_step + row_pad), np.uint8)
    rows[:, : shape[1] * point_step] = np.frombuffer(cloud.tobytes(), np.uint8).reshape(shape[0], -1)
    codes = {"f4": 7, "f8": 8, "u2": 4, "i2": 3}
    return [Field(name, offset, codes[kind]) for name, kind, offset in layout], rows


LAYOUTS = {
    "plain": ([("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8)], 12),
    "velodyne": ([("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8), ("intensity", "f4", 16), ("ring", "u2", 20)], 32),
    "reversed": ([("z", "f4", 0), ("y", "f4", 4), ("x", "f4", 8)], 16),
    "doubles": ([("intensity", "f4", 0), ("x", "f8", 8), ("y", "f8", 16), ("z", "f8", 24)], 32),
    "unaligned": ([("ring", "u2", 0), ("x", "f4", 2), ("y", "f4", 6), ("z", "f4", 10)], 14),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(1, 60), (6, 10)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, shape: tuple[int, int], order: str) -> None:
    layout, point_step = LAYOUTS[name]
    fields, rows = cloud_bytes(layout, point_step, shape, row_pad=8, order=order)
    got = decode_points(fields, *shape, point_step, rows.shape[1], rows.tobytes(), order == ">")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, POINTS, rtol=1e-6)


def test_points_that_are_not_finite_are_dropped() -> None:
    points = POINTS.copy()
    points[3, 1], points[7, 0], points[9] = np.nan, np.inf, np.nan
    fields = [Field(name, 4 * i, 7) for i, name in enumerate("xyz")]
    got = decode_points(fields, 1, 60, 12, 720, points.tobytes())
    np.testing.assert_array_equal(got, np.delete(points, [3, 7, 9], axis=0))
    assert decode_points(fields, 1, 60, 12, 720, np.full((60, 3), np.nan, np.float32).tobytes()).shape == (0, 3)
    assert decode_points(fields, 1, 0, 12, 0, b"").shape == (0, 3)


@settings(max_examples=80)
@given(
    fields=st.lists(
        st.builds(
            Field,
            st.sampled_from(["x", "y", "z", "rgb", ""]),
            st.integers(0, 40) | st.just(2**32 - 1),
            st.integers(0, 12),
        ),
        max_size=5,
    ),
    height=st.integers(0, 9) | st.just(2**32 - 1),
    width=st.integers(0, 9) | st.just(2**32 - 1),
    point_step=st.integers(0, 40),
    row_step=st.integers(0, 400),
    data=st.binary(max_size=600),
)
def test_any_cloud_message_is_points_or_an_input_error(fields, height, width, point_step, row_step, data) -> None:
    try:
        points = decode_points(fields, height, width, point_step, row_step, data)
    except InputError:
        return
    assert points.shape[1] == 3
    assert np.isfinite(points).all()


def test_cloud_from_depth() -> None:
    depth = np.array([[1.0, np.nan], [np.inf, 4.0]], np.float32)
    rays = np.stack(np.meshgrid([-0.5, 0.5], [-0.25, 0.25]), axis=-1).astype(np.float32)
    rgb = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [250, 128, 0]]], np.uint8)
    cloud = cloud_from_depth(depth, rays, rgb)
    np.testing.assert_array_equal(cloud[0, 0, :3], [-0.5, -0.25, 1.0])
    np.testing.assert_array_equal(cloud[1, 1, :3], [2.0, 1.0, 4.0])
    assert np.isnan(cloud[0, 1, :3]).all()
    assert np.isnan(cloud[1, 0, :3]).all()
    assert cloud[1, 1, 3:].view(np.uint32)[0] == (250 << 16 | 128 << 8)


def test_nothing_hangs_between_an_obstacle_and_the_wall_behind_it() -> None:
    camera = CalibratedCamera.from_pinhole(Pinhole(160, 120, 130.0))
    rays = camera.cloud(np.ones((120, 160)))[..., :2].astype(np.float32)
    floor = np.where(rays[..., 1] > 0, 1.0 / np.maximum(rays[..., 1], 1e-6), np.inf)
    truth = np.minimum(floor, 6.0)
    truth[20:100, 60:100] = np.minimum(truth[20:100, 60:100], 2.0)
    truth[:10] = np.inf  # sky
    blurred = cv2.GaussianBlur(np.where(np.isfinite(truth), truth, 6.0), (0, 0), 1.5)
    blurred[:10] = np.inf
    depth, rgb = blurred.astype(np.float32), np.zeros((120, 160, 3), np.uint8)

    finite = np.minimum(truth, 6.0)
    near, far = (f(finite, np.ones((9, 9), np.uint8)) for f in (cv2.erode, cv2.dilate))

    def flying(cloud: np.ndarray) -> np.ndarray:
        return (cloud[..., 2] > 1.1 * near) & (cloud[..., 2] < 0.9 * far) & (far > 1.5 * near)

    whole, cut = cloud_from_depth(depth, rays, rgb), cloud_from_depth(depth, rays, rgb, cut=0.1)
    assert cut.shape == whole.shape
    assert flying(cut).sum() < 0.1 * flying(whole).sum()
    gone = np.isnan(cut[..., 2]) & np.isfinite(whole[..., 2])
    assert gone[far < 1.5 * near].mean() < 0.0005  # wall, floor and obstacle keep theirs
    assert np.isnan(cut[:10, :, 2]).all()


def test_a_cloud_for_a_costmap_is_cropped_gated_and_thinned() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 8.0, (40, 60)).astype(np.float32)
    depth[:5] = np.nan
    camera = CalibratedCamera.from_pinhole(Pinhole(60, 40, 50.0))
    rays = camera.cloud(np.ones(depth.shape))[..., :2].astype(np.float32)
    sigma = (depth * rng.uniform(0.0, 0.4, depth.shape)).astype(np.float32)
    rgb = np.zeros((40, 60, 3), np.uint8)
    motion = np.eye(4)  # optical axes to those of a robot, half a metre above its base
    motion[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    motion[2, 3] = 0.5
    cloud = moved_cloud(cloud_from_depth(depth, rays, rgb, sigma_m=sigma), motion)
    np.testing.assert_allclose(cloud[..., 0][5:], depth[5:], rtol=1e-6)
    limits = CloudFilter(0.8, 6.0, 0.05, 1.5, max_relative_sigma=0.2)
    kept = filtered_cloud(cloud, motion[:3, 3], limits)
    points = cloud.reshape(-1, 5)
    distance = np.linalg.norm(points[:, :3] - motion[:3, 3], axis=1)
    with np.errstate(invalid="ignore"):
        expected = (distance >= 0.8) & (distance <= 6) & (points[:, 2] >= 0.05) & (points[:, 2] <= 1.5)
        expected &= points[:, 4] <= 0.2 * distance
    np.testing.assert_array_equal(kept, points[expected])
    thinned = filtered_cloud(cloud, motion[:3, 3], replace(limits, voxel_m=0.25))
    cells = np.floor(kept[:, :3] / np.float32(0.25)).astype(int)
    assert len(thinned) == len(np.unique(cells, axis=0))
    one = (cells == np.floor(thinned[0, :3] / np.float32(0.25)).astype(int)).all(axis=1)
    np.testing.assert_allclose(thinned[0, :3], kept[one, :3].mean(axis=0), rtol=1e-4)
    assert thinned[0, 4] == kept[one, 4].min()
    unknown = cloud.copy()
    unknown[..., 4] = np.nan
    assert len(filtered_cloud(unknown, motion[:3, 3], limits)) == 0  # a gate lets nothing through that it cannot judge
    assert len(filtered_cloud(unknown[:3], motion[:3, 3], CloudFilter(voxel_m=0.1))) == 0
