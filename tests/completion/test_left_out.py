import numpy as np
import pytest
from completion_scene import model_map, room

from leadline.completion import FusionOptions, complete, left_out
from leadline.depth.spaces import Space

IMAGE, DEPTH = room(480, 640)


def scanned(rings: int = 32, columns: int = 625) -> np.ndarray:
    """What a scanner with close points on far-apart rings sees of the room."""
    sparse = np.zeros_like(DEPTH)
    at = np.ix_(np.linspace(20, 470, rings).astype(int), np.linspace(0, 639, columns).astype(int))
    sparse[at] = DEPTH[at]
    return sparse


def test_rings_of_many_points_do_not_ask_for_a_fine_grid() -> None:
    done = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), scanned())
    assert done.meta["completion"]["working_stride"] == 3  # 20 000 scattered points ask for 2


def test_the_grid_is_as_fine_as_points_are_dense_where_they_are() -> None:
    sparse = DEPTH.copy()
    sparse[:, 200:] = 0  # the sensor sees a third of the picture, of which every pixel
    done = complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), sparse)
    assert done.meta["completion"]["working_stride"] == 1


def test_a_left_out_point_of_a_ring_is_told_by_as_many_neighbours_as_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    true_regress = left_out.regress

    def regress(pixels, points, neighbours, bandwidth, tolerance, options, without=None):
        looked_at.append((len(neighbours), None if without is None else (~without).sum(0)))
        return true_regress(pixels, points, neighbours, bandwidth, tolerance, options, without)

    monkeypatch.setattr(left_out, "regress", regress)
    complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), scanned())
    singles = [(count, kept) for count, kept in looked_at if kept is not None]
    assert len(singles) == 3
    most = FusionOptions().line_neighbours
    for count, kept in singles:
        assert count == most
        assert most // 2 <= int(kept.min()) <= int(kept.max()) <= most
