"""A relief that is raised and cut later is the relief that is made at once."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.geometry import live_relief, relief_mesh


@pytest.fixture
def picture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rise, depth with a near box and a farther one, and a removed corner."""
    y, x = np.mgrid[0:60, 0:90]
    depth = (4.0 + 0.01 * x + 0.02 * y).astype(np.float32)
    depth[10:30, 20:50] = 2.0
    depth[40:55, 60:80] = 3.6
    rise = ((depth.max() - depth) / np.ptp(depth)).astype(np.float32)
    return rise, depth, (x > 80) & (y < 8)


@pytest.mark.parametrize("long_edge", [None, 50])
@pytest.mark.parametrize("cut", [0.05, 0.2, 0.7, 1.0])
def test_raised_and_cut_it_is_the_relief(picture, long_edge, cut):
    rise, depth, removed = picture
    live = live_relief(rise, depth, 2.0, removed=removed, long_edge=long_edge)
    assert not live.mesh.vertices[:, 2].any()
    relief = relief_mesh(rise, 2.0, 0.4, depth=depth, cut=cut, removed=removed, long_edge=long_edge)
    kept = live.mesh.faces[live.jump <= cut]
    raised = live.mesh.vertices + np.outer(0.4 * live.nearness, [0, 0, 1])
    np.testing.assert_allclose(raised[kept], relief.vertices[relief.faces], atol=1e-6)


def test_deeper_jumps_have_larger_numbers(picture):
    rise, depth, _ = picture
    jump = live_relief(rise, depth, 2.0).jump.reshape(59, 89)
    assert jump[20, 19] == pytest.approx(1 - 2.0 / depth[20, 19], abs=0.02)
    assert 0.05 < jump[47, 59] < jump[20, 19]
    assert jump[5, 5] < 0.01
