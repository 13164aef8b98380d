"""Trust among a few points."""

import torch

from leadline.completion.local import Points
from leadline.completion.neighbours import Neighbours
from leadline.completion.support import trust

SIDE, SPACING = 12, 10.0


def wall_with_wrong_points():
    """A flat wall seen at a grid of points; some are wrong, each in its own way, and around one point most agree on
    something else. Returns the points, which are right, and that one's index."""
    y, x = torch.meshgrid(*[torch.arange(SIDE) * SPACING] * 2, indexing="ij")
    x, y = x.flatten(), y.flatten()
    generator = torch.Generator().manual_seed(0)
    value = torch.ones(SIDE * SIDE)
    loners = torch.randperm(SIDE * SIDE, generator=generator)[:30]
    value[loners] = torch.rand(30, generator=generator) * 4 + 2
    centre = 5 * SIDE + 5
    apart = torch.hypot(x - x[centre], y - y[centre])
    conspirators = torch.argsort(apart)[1:15]
    value[conspirators] = 1.5
    value[centre] = 1.0
    right = value == 1.0
    guide, model = torch.full((3, len(x)), 128.0), torch.ones_like(x)
    return Points(x, y, guide, value, model), right, centre


def test_points_known_to_be_wrong_have_no_say():
    points, right, centre = wall_with_wrong_points()
    places = torch.stack([points.x, points.y], 1)
    _, neighbours = Neighbours(places).nearest(places, 16)
    tiles, unit = torch.arange(len(right)), torch.full((len(right),), 0.2)
    alone = trust(points, neighbours, tiles, unit, 24.0)
    told = trust(points, neighbours, tiles, unit, 24.0, start=right.float())
    assert alone[centre] < 0.5 < told[centre]
    assert told[right].min() > 0.5
    assert told[~right].max() < 0.5
