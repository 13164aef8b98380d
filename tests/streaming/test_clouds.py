"""Point cloud layouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.errors import InputError
from leadline.streaming.ros.clouds import Field, cloud_from_depth, decode_points

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


@settings(max_examples=80, deadline=None)
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
