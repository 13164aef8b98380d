"""Few points move scale and shape no further than they justify."""

import numpy as np
import pytest
from completion_scene import keep, model_map, room

from leadline.completion import SparseDepth, complete
from leadline.completion.fit import fit_scale_and_shift
from leadline.completion.prior import MapRange, posterior
from leadline.completion.tuned import PRIOR
from leadline.depth.spaces import Space

IMAGE, DEPTH = room()
SPACES = list(Space)


def shape_error(depth, truth):
    """Mean relative error once the scale is removed."""
    ratio = depth / truth
    return float(np.abs(ratio / np.median(ratio) - 1).mean())


def imperfect(space):
    """A model's map that is wrong by 15 % in patches, as small networks are."""
    return model_map(DEPTH, space, noise=0.25)


@pytest.mark.parametrize("space", SPACES)
def test_shape_is_kept_and_metres_become_right_with_more_points(space):
    model = imperfect(space)
    ends = MapRange.of(model.values, space)
    near, far = float(space.from_depth(np.float64(1.0))), float(space.from_depth(np.exp(PRIOR.log_ratio)))
    scale = (far - near) / (ends.far - ends.near)
    own = shape_error(space.to_depth(near + scale * (model.values.astype(np.float64) - ends.near)), DEPTH)
    shape, metres = [], []
    for points in (1, 2, 4, 8, 30):
        errors = []
        for seed in range(60):
            kept = np.flatnonzero(keep(DEPTH, points, seed))
            fit = fit_scale_and_shift(model.values.flat[kept], DEPTH.flat[kept], space, 0, ends)
            depth = space.to_depth(fit.scale * model.values.astype(np.float64) + fit.shift)
            errors.append((shape_error(depth, DEPTH), float(np.abs(depth / DEPTH - 1).mean())))
        a, b = np.mean(errors, axis=0)
        shape.append(a)
        metres.append(b)
    assert max(shape) <= 1.05 * own
    assert (np.diff(shape) <= 0.02 * own).all()
    assert (np.diff(metres) < 0).all()


def test_points_on_one_depth_tell_the_scale_and_not_the_ratio():
    values = np.array([0.4, 0.41, 0.39, 0.4])
    ends = MapRange(0.0, 1.0)
    told = posterior(values, np.full(4, 3.0), Space.DISPARITY, ends)
    near, far = (float(Space.DISPARITY.to_depth(np.float64(told.scale * end + told.shift))) for end in (1.0, 0.0))
    assert np.log(far / near) == pytest.approx(PRIOR.log_ratio, abs=0.3)
    assert told.relative.max() > 1.5 * told.relative.min()  # unsure at the ends, less at the points' value


def test_sigma_falls_with_the_number_of_points_and_follows_theirs():
    model = imperfect(Space.LOG_DEPTH)
    medians = [
        np.mean(
            [
                np.median((r := complete(IMAGE, model, keep(DEPTH, n, seed))).uncertainty / r.depth_m)
                for seed in range(3)
            ]
        )
        for n in (1, 3, 8, 20)
    ]
    assert (np.diff(medians) < 0).all()
    v, u = np.nonzero(keep(DEPTH, 4))
    points = SparseDepth(v=v, u=u, depth_m=DEPTH[v, u], size=DEPTH.shape)
    vague = SparseDepth(v=v, u=u, depth_m=DEPTH[v, u], size=DEPTH.shape, sigma_m=(0.5 * DEPTH[v, u]).astype(np.float32))
    exact, unsure = (complete(IMAGE, model, p) for p in (points, vague))
    assert np.median(unsure.uncertainty) > 1.3 * np.median(exact.uncertainty)


def test_a_handful_of_points_bends_nothing():
    """No needles at the points: the result is a smooth function of the model's map."""
    model = imperfect(Space.DISPARITY)
    kept = keep(DEPTH, 4) * np.float32(1.3)
    depth = complete(IMAGE, model, kept).depth_m
    order = np.argsort(model.values.ravel())
    assert (np.diff(depth.ravel()[order]) <= 0.02 * depth.max()).all()
