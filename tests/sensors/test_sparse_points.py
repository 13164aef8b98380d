import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadline.sensors.sparse import nearest_points

SIZE = (5, 7)


def drawn(points: list[tuple[int, int, float]], unknown: float = 0.0) -> np.ndarray:
    u, v = (np.array([point[i] for point in points], dtype=np.int64) for i in (0, 1))
    depth_m = np.array([point[2] for point in points], dtype=np.float32)
    return nearest_points(u, v, depth_m, SIZE).map(unknown)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.floats(0.125, 1024, width=16)), max_size=60))
def test_the_nearest_point_of_each_pixel_stays(points: list[tuple[int, int, float]]) -> None:
    expected = np.full(SIZE, np.inf, dtype=np.float32)
    for u, v, depth_m in points:
        expected[v, u] = min(expected[v, u], np.float32(depth_m))
    np.testing.assert_array_equal(drawn(points, np.inf), expected)


def test_points_come_once_and_row_by_row() -> None:
    u, v = np.array([3, 0, 3, 6]), np.array([1, 4, 1, 0])
    nearest = nearest_points(u, v, np.array([2.0, 1.0, 1.5, 9.0], dtype=np.float32), SIZE)
    assert list(zip(nearest.u, nearest.v, nearest.depth_m, strict=True)) == [(6, 0, 9.0), (3, 1, 1.5), (0, 4, 1.0)]
    assert nearest.size == SIZE


def test_nothing_measured_is_zero() -> None:
    assert not drawn([]).any()
