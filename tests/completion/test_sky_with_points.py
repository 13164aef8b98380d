"""Sky of streets with a LiDAR: no frame's sky is a confident wall."""

import numpy as np
import pytest

import leadline
from leadline.completion import complete
from leadline.evaluation.sparse import sample
from leadline.scenes import render_film, render_scenes


def found_and_lost(rgb, truth_m, valid, sparse):
    """Share of the sky that is not finite or has a sigma of half its depth, and share of the rest that is no longer finite."""
    done = complete(rgb, leadline.load("fiffdepth-mini").predict(rgb), sparse)
    gone = ~np.isfinite(done.evident_depth_m)
    unsure = gone | (done.uncertainty >= 0.5 * done.depth_m)
    return float(unsure[~valid].mean()), float(gone[valid].mean())


@pytest.mark.parametrize(
    ("seed", "least", "most"),
    [
        pytest.param(900, 0.95, 0.01, id="a facade with returns as bright as the sky beside it"),
        pytest.param(910, 0.75, 0.01, id="fog, and sky through a gap below trees"),
        pytest.param(912, 0.85, 0.02, id="a facade with returns as grey as the sky, between trees"),
    ],
)
def test_sky_where_the_sensor_sees_the_whole_picture(seed, least, most):
    batch = render_scenes(seed, 1, 360, 640, "street")
    camera, truth_m, valid = batch.intrinsics[0].numpy(), batch.depth_m[0].numpy(), batch.valid[0].numpy()
    points = sample("16-line", truth_m, 0, (camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2]))
    found, lost = found_and_lost(batch.rgb[0].numpy(), truth_m, valid, points)
    assert found >= least
    assert lost <= most


def test_pale_sky_above_the_sensors_view():
    """Nothing in the colour alone is sure; what the missing returns tell further down is."""
    film = list(render_film(201, 21, 240, 320, layout="street", path="forward", movers=0, pace_m=0.08, supersample=1.0))
    frame = film[-1]
    points = np.zeros_like(frame.depth_m)
    rows = np.linspace(72, 238, 16).astype(int)
    points[rows, ::2] = np.where(frame.valid, frame.depth_m, 0)[rows, ::2]
    found, lost = found_and_lost(frame.rgb, frame.depth_m, frame.valid, points)
    assert found >= 0.95
    assert lost <= 0.02
