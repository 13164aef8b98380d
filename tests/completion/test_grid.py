import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.completion import grid
from leadline.completion.grid import WorkingGrid

CPU = torch.device("cpu")
GRIDS = st.builds(WorkingGrid, st.integers(8, 60), st.integers(8, 60), st.integers(1, 5), st.integers(2, 3))


@pytest.mark.parametrize(
    ("size", "spacing", "stride", "side"),
    [((480, 640), 25, 2, 3), ((480, 640), 1.4, 1, 2), ((720, 1280), 6.8, 4, 3), ((2160, 3840), 129, 8, 3)],
)
def test_dense_points_ask_for_a_fine_grid(size, spacing, stride, side):
    made = WorkingGrid.for_points(*size, spacing, working_pixels=65_000)
    assert (made.stride, made.side) == (stride, side)


@settings(max_examples=40)
@given(GRIDS)
def test_every_pixel_lies_in_its_tile(made):
    v, u = (axis.ravel() for axis in np.mgrid[: made.height, : made.width])
    tiles = made.tile_of(u, v)
    assert tiles.min() >= 0
    assert tiles.max() < made.rows * made.columns
    centres = made.centres(CPU).numpy()[tiles]
    assert np.abs(centres - np.stack([u, v], 1)).max() <= (made.tile_px - 1) / 2


@settings(max_examples=40)
@given(GRIDS)
def test_places_are_the_means_of_their_pixels(made):
    x = torch.arange(made.width, dtype=torch.float32).expand(made.height, made.width)
    whole = made.places(CPU)[0] + (made.stride - 1) / 2 < made.width  # the last ones reach beyond the image
    torch.testing.assert_close(made.tiled(made.coarse(x))[whole], made.places(CPU)[0][whole])


@settings(max_examples=40)
@given(GRIDS)
def test_a_ramp_comes_back_at_full_size(made):
    ramp = 2.0 * made.places(CPU)[0] - made.places(CPU)[1]
    full = made.full(ramp)
    y, x = torch.meshgrid(torch.arange(made.height) * 1.0, torch.arange(made.width) * 1.0, indexing="ij")
    inside = np.s_[made.stride : -made.stride, made.stride : -made.stride]
    assert full.shape == (made.height, made.width)
    torch.testing.assert_close(full[inside], (2 * x - y)[inside], atol=1e-3, rtol=1e-4)


def test_elsewhere_full_size_is_reached_without_opencv(monkeypatch):
    made = WorkingGrid(50, 70, 4, 3)
    tiles = torch.rand(9, made.rows * made.columns, generator=torch.Generator().manual_seed(0))
    here = made.full(tiles)
    monkeypatch.setattr(grid, "on_processor", lambda _: False)
    torch.testing.assert_close(made.full(tiles), here)
