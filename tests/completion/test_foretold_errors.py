"""How wrong completion says it is, against how wrong it is."""

import numpy as np
import pytest
import torch

import leadline
from leadline.completion import FusionOptions, complete
from leadline.completion.fit import Fit
from leadline.completion.left_out import learn
from leadline.completion.local import Estimate
from leadline.completion.setting import Setting
from leadline.completion.tuned import UNCERTAINTY
from leadline.completion.uncertainty import Clues, Layout, calibrate
from leadline.depth.spaces import Space
from leadline.evaluation.patterns import Measured, draw
from leadline.scenes import render_scenes
from leadline.sensors.sparse import SparseDepth

LAYOUT = Layout(points=500, spacing=8.0, in_lines=False, caution=0.0)


def clues(count: int, spread: float = 0.01, step: float = 0.01, distance: float = 8.0) -> Clues:
    """The same everywhere, in log depth."""
    one = torch.ones(1, count)
    estimate = Estimate(one, one * 0, spread * one, distance * one, step * one, 5 * one, 0.01 * one)
    return Clues(estimate, one + 0.02, 0.003 * one, 0.02 * one, 0.02 * one, one)


def drawn(count: int, size: float) -> torch.Tensor:
    return torch.as_tensor(np.abs(np.random.default_rng(0).normal(0, size, count)).astype(np.float32))


def test_few_left_out_points_teach_nothing():
    few = UNCERTAINTY.fewest - 1
    assert calibrate(clues(few), drawn(few, 0.01), LAYOUT) is None


@pytest.mark.parametrize("size", [0.003, 0.01, 0.1])
def test_many_left_out_points_set_the_scale(size):
    learnt = calibrate(clues(2000), drawn(2000, size), LAYOUT)
    inside = float((drawn(5000, size) <= learnt.sigma(clues(1))[0, 0]).float().mean())
    assert 0.6 < inside < 0.8


def test_regions_that_were_left_out_speak_for_holes_alone():
    plain = calibrate(clues(500), drawn(500, 0.01), LAYOUT)
    learnt = calibrate(clues(500), drawn(500, 0.01), LAYOUT, (clues(300, distance=80.0), drawn(300, 0.3)))
    beside, hole = clues(1, distance=4.0), clues(1, distance=80.0)
    assert float(learnt.sigma(beside)) == pytest.approx(float(plain.sigma(beside)), rel=0.02)
    assert float(learnt.sigma(hole)) > 2 * float(plain.sigma(hole))


def test_sigma_is_larger_where_neighbours_disagree_and_far_from_points():
    learnt = calibrate(clues(500), drawn(500, 0.01), LAYOUT)
    usual = float(learnt.sigma(clues(1)))
    assert float(learnt.sigma(clues(1, step=0.3, spread=0.1))) > 2 * usual
    assert float(learnt.sigma(clues(1, distance=40.0))) > usual


@pytest.fixture(scope="module")
def rooms():
    """Rendered rooms, measured with 0.5 % of noise, and the model's map of each."""
    batch = render_scenes(31, 3, 240, 320, "room")
    model, rng = leadline.load("fiffdepth-mini"), np.random.default_rng(0)
    noise = 0.005 * rng.normal(0, 1, batch.depth_m.shape)
    truths = (batch.depth_m.numpy() * np.exp(noise)).astype(np.float32)
    return [(rgb, truth, model.predict(rgb)) for rgb, truth in zip(batch.rgb.numpy(), truths, strict=True)]


@pytest.mark.parametrize("pattern", ["50", "500", "2%", "16-line"])
def test_one_and_two_sigma_hold_what_they_should_on_scenes_that_were_not_fitted_to(rooms, pattern):
    off = []
    for rgb, truth, prediction in rooms:
        sparse = draw(pattern, Measured(truth, rgb, None), 0)
        done = complete(rgb, prediction, sparse)
        off.append((np.abs(done.depth_m - truth) / done.uncertainty)[(truth > 0) & (sparse == 0)])
    off = np.concatenate(off)
    assert 0.55 < (off <= 1).mean() < 0.82
    assert (off <= 2).mean() > 0.86


def wall_with_a_spike(points: int = 300):
    """A plane wall at 3 m, measured at a lattice of points, one of which says 2.5 m; its setting and the spike's index."""
    height, width = 120, 160
    step = int((height * width / points) ** 0.5)
    v, u = (places.ravel() for places in np.mgrid[2:height:step, 2:width:step])
    depth = np.full(len(u), 3.0, np.float32)
    spike = len(u) // 2 + width // step // 2
    depth[spike] = 2.5
    sparse = SparseDepth(u=u, v=v, depth_m=depth, size=(height, width))
    map_m = torch.full((height, width), 3.0)
    rgb = np.full((height, width, 3), 128, np.uint8)
    fit = Fit(1.0, 0.0, 0.0, "fitted", 1.0)
    return Setting.of(rgb, map_m, sparse, fit, Space.DEPTH, FusionOptions()), spike


def test_the_edge_at_a_left_out_point_is_told_without_it():
    setting, spike = wall_with_a_spike()
    _, lesson = learn(setting)
    singles, _ = lesson.left_out()
    chosen = singles.chosen[: len(singles.edge)]
    assert spike in chosen
    assert float(singles.edge[chosen == spike]) < 0.02


def test_lines_are_left_out_as_far_as_a_hidden_pixel_is_from_them_and_no_farther():
    height, width = 120, 320
    v, u = (places.ravel() for places in np.mgrid[4:height:8, 0 : 2 * width // 3 : 2])  # nothing measured on the right
    sparse = SparseDepth(u=u, v=v, depth_m=np.full(len(u), 3.0, np.float32), size=(height, width))
    rgb, fit = np.full((height, width, 3), 128, np.uint8), Fit(1.0, 0.0, 0.0, "fitted", 1.0)
    setting = Setting.of(rgb, torch.full((height, width), 3.0), sparse, fit, Space.DEPTH, FusionOptions(strips=10**6))
    assert setting.in_lines
    _, lesson = learn(setting)
    singles, _ = lesson.left_out()
    assert float(singles.estimate.distance[1:].max()) <= 3 * setting.spacing + 2


def test_regions_that_are_left_out_lie_at_the_rims_of_the_images_own_holes():
    height, width = 120, 160
    v, u = (places.ravel() for places in np.mgrid[0:height:2, 0:width:2])
    kept = np.hypot(v - 60, u - 120) > 25  # nothing measured in a disc on the right
    u, v = u[kept], v[kept]
    sparse = SparseDepth(u=u, v=v, depth_m=np.full(len(u), 3.0, np.float32), size=(height, width))
    rgb, fit = np.full((height, width, 3), 128, np.uint8), Fit(1.0, 0.0, 0.0, "fitted", 1.0)
    setting = Setting.of(rgb, torch.full((height, width), 3.0), sparse, fit, Space.DEPTH, FusionOptions())
    _, lesson = learn(setting)
    _, regions = lesson.left_out()
    chosen = regions.chosen.numpy()
    assert len(chosen) >= 20
    assert (np.abs(np.hypot(v[chosen] - 60, u[chosen] - 120) - 25) < 4).all()


def test_points_of_scan_lines_that_are_easier_than_foretold_leave_a_margin():
    lines, inside = LAYOUT._replace(in_lines=True, caution=1.0), []
    for size in (0.02, 0.1):
        learnt = calibrate(clues(2000), drawn(2000, size), lines)
        inside.append(float((drawn(5000, size) <= learnt.sigma(clues(1))[0, 0]).float().mean()))
    assert 0.7 < inside[0] < 0.85
    assert 0.55 < inside[1] < 0.65


def test_sigma_is_never_below_what_a_missed_surface_would_make_of_it():
    learnt = calibrate(clues(500), drawn(500, 0.001), LAYOUT)
    beside = clues(1)._replace(farther=torch.full((1, 1), 1.5))
    assert float(learnt.sigma(beside)) >= 0.99 * UNCERTAINTY.missed * np.expm1(1.5)
