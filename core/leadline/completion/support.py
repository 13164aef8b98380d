"""Which of a few measured points to trust: the share of a point's surroundings that lies on one surface with it.

A point's neighbours say on which local plane their majority lies; the point is supported by those that agree with it once
the slope of that plane is taken out. What supports nothing but itself loses its trust and with it its say about others, which
is repeated a few times. Agreement is judged in the residual of the fitted model, which tells a step in the scene from a wrong
point where the model is right, and in the points' own values. Where neighbours agree clearly better in one of them, that
one decides; otherwise the mean of both.

These rules judge where points are few; where there are many, :mod:`leadline.completion.outliers` drops fewer right ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leadline.completion.local import Points
from leadline.completion.tuned import SUPPORT


def trust(
    points: Points, neighbours: Tensor, tiles: Tensor, unit: Tensor, colour: float, start: Tensor | None = None
) -> Tensor:
    """Trust in each point.

    Args:
        points: n points.
        neighbours: int64 (K, C), indices of the points around each of C tiles.
        tiles: int64 (n,), the tile of each point; it is no neighbour of its own.
        unit: (n,) what the relative tolerance is at each point, in the unit of the values.
        colour: Standard deviation of the weight of colour.
        start: (n,) trust that is there already, for example 0 in points that someone else has found wrong; default 1.

    Returns:
        (n,) in [0, 1]; all 1 where there are too few neighbours to contradict anyone, or no more isolated points than real scenes have.
    """
    count = points.value.numel()
    everyone = torch.ones_like(points.value)
    if len(neighbours) < SUPPORT.fewest:
        return everyone
    step = max(1, count // SUPPORT.sample)
    sample = torch.arange(0, count, step, device=everyone.device)
    first = _Surroundings(points, neighbours[:, tiles[sample]], sample, unit[sample], colour).support(
        everyone, narrow=False
    )
    unsupported = float((first < SUPPORT.unsupported).float().mean())
    if unsupported <= SUPPORT.clean:
        return everyone
    strictness = min((unsupported - SUPPORT.clean) / (SUPPORT.spoiled - SUPPORT.clean), 1.0)
    surroundings = _Surroundings(
        points, neighbours[:, tiles], torch.arange(count, device=everyone.device), unit, colour
    )
    trusted = everyone if start is None else start
    for number, asked in enumerate(SUPPORT.asked):
        low = max(strictness * asked - SUPPORT.softness / 2, 0.0)
        support = surroundings.support(trusted, narrow=number >= len(SUPPORT.asked) // 2)
        trusted = ((support - low) / SUPPORT.softness).clamp_(0.0, 1.0)
    return trusted


class _Surroundings:
    """Neighbours of some points, (K, m): weight, place relative to the point, differences of residual and value."""

    def __init__(self, points: Points, around: Tensor, chosen: Tensor, unit: Tensor, colour: float) -> None:
        own = around == chosen
        x, y = points.x[around] - points.x[chosen], points.y[around] - points.y[chosen]
        squared = x * x + y * y
        middle = squared.mean(0).clamp_min_(1.0)
        apart = (points.guide[:, around] - points.guide[:, chosen][:, None]).square_().sum(0)
        weight = apart.mul_(-0.5 / colour**2).exp_().add_(SUPPORT.other_colour).div_(1.0 + squared / middle)
        self.weight = weight.masked_fill_(own, 0.0)
        self.around = around
        scale = middle.rsqrt()
        self.x, self.y = x.mul_(scale), y.mul_(scale)
        differences = [
            (values[around] - values[chosen]).div_(unit) for values in (points.value - points.model, points.value)
        ]
        usual = [_usual(difference, own) for difference in differences]
        told = [apart <= SUPPORT.both * min(usual) for apart in usual]
        self.differences = [difference for difference, counts in zip(differences, told, strict=True) if counts]
        self.narrow = [
            min(max(SUPPORT.times * apart, SUPPORT.least), SUPPORT.agrees)
            for apart, counts in zip(usual, told, strict=True)
            if counts
        ]

    def support(self, trusted: Tensor, narrow: bool) -> Tensor:
        """(m,) the weighted share of trusted neighbours that agree, in [0, 1]."""
        weight = self.weight * trusted[self.around]
        weight /= weight.sum(0) + 1e-6
        shares = [
            self._agreeing(difference, weight, least if narrow else SUPPORT.agrees)
            for difference, least in zip(self.differences, self.narrow, strict=True)
        ]
        return torch.stack(shares).mean(0)

    def _agreeing(self, difference: Tensor, weight: Tensor, reach: float) -> Tensor:
        """The share that agrees in ``difference`` once the slope of the majority's plane is taken out."""
        centre = (weight * difference.clamp(-3.0, 3.0)).sum(0)
        for _ in range(3):
            near = weight / (1.0 + ((difference - centre) / SUPPORT.near_plane).square_())
            centre = (near * difference).sum(0) / (near.sum(0) + 1e-6)
        offset = difference - centre
        near = weight / (1.0 + (offset / SUPPORT.near_plane).square())
        near /= near.sum(0) + 1e-6
        by_x, by_y = near * self.x, near * self.y
        mean_x, mean_y = by_x.sum(0), by_y.sum(0)
        xx = (by_x * self.x).sum(0) - mean_x * mean_x + SUPPORT.ridge
        xy = (by_x * self.y).sum(0) - mean_x * mean_y
        yy = (by_y * self.y).sum(0) - mean_y * mean_y + SUPPORT.ridge
        on_x, on_y = (by_x * offset).sum(0), (by_y * offset).sum(0)
        inverse = 1.0 / (xx * yy - xy * xy)
        slope_x, slope_y = (yy * on_x - xy * on_y) * inverse, (xx * on_y - xy * on_x) * inverse
        flat = difference - slope_x * self.x - slope_y * self.y
        return (weight * flat.div_(reach).square_().neg_().exp_()).sum(0)


def _usual(difference: Tensor, own: Tensor) -> float:
    """What noise and texture do to close neighbours: the median point's third smallest difference."""
    size = difference.abs().masked_fill_(own, torch.inf)
    return float(torch.topk(size, 3, dim=0, largest=False).values[2].median())
