import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadline.sensors.sparse import nearest_points

SIZE = (5, 7)
#: So large that the same points are few for it.
LARGE = (50, 70)


def drawn(points: list[tuple[int, int, float]], unknown: float = 0.0, size: tuple[int, int] = SIZE) -> np.ndarray:
    u, v = (np.array([point[i] for point in points], dtype=np.int64) for i in (0, 1))
    depth_m = np.array([point[2] for point in points], dtype=np.float32)
    return nearest_points(u, v, depth_m, size).map(unknown)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.floats(0.125, 1024, width=16)), max_size=60))
def test_the_nearest_point_of_each_pixel_stays(points: list[tuple[int, int, float]]) -> None:
    expected = np.full(SIZE, np.inf, dtype=np.float32)
    for u, v, depth_m in points:
        expected[v, u] = min(expected[v, u], np.float32(depth_m))
    np.testing.assert_array_equal(drawn(points, np.inf), expected)
    np.testing.assert_array_equal(drawn(points, np.inf, LARGE)[: SIZE[0], : SIZE[1]], expected)


@pytest.mark.parametrize("size", [SIZE, LARGE])
def test_points_come_once_and_row_by_row(size: tuple[int, int]) -> None:
    u, v = np.array([3, 0, 3, 6]), np.array([1, 4, 1, 0])
    nearest = nearest_points(u, v, np.array([2.0, 1.0, 1.5, 9.0], dtype=np.float32), size)
    assert list(zip(nearest.u, nearest.v, nearest.depth_m, strict=True)) == [(6, 0, 9.0), (3, 1, 1.5), (0, 4, 1.0)]
    assert nearest.size == size


@pytest.mark.parametrize("size", [SIZE, LARGE])
def test_infinite_points_are_left_out(size: tuple[int, int]) -> None:
    assert drawn([(1, 1, np.inf), (2, 1, np.inf), (2, 1, 3.0)], size=size)[1, :3].tolist() == [0.0, 0.0, 3.0]


@pytest.mark.parametrize("size", [SIZE, LARGE])
def test_nothing_measured_is_zero(size: tuple[int, int]) -> None:
    assert not drawn([], size=size).any()
