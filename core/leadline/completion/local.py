"""Locally weighted regression: what the points around a pixel, its colour and the model say about its value.

Around every pixel the K nearest points are fitted by ``value = c + gx·dx + gy·dy + b·dm`` where ``dm`` is the difference of
the model's map. A point counts more if it is near (relative to how dense the points are there), of the pixel's colour, and
trusted; two reweighting passes let the majority decide at an edge. Ridge terms draw the plane towards flat and ``b`` towards
a given share of the model. (Locally weighted regression: Cleveland, JASA 1979; weights of place and colour: Tomasi &
Manduchi, ICCV 1998; reweighting: Cauchy's function as in Holland & Welsch, 1977.)

Everything is torch on the device of the model's map, laid out (K, T, C): K neighbours of C tiles with T pixels each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

#: Tiles at once: what is computed on the way then stays in the processor's cache.
_AT_ONCE = 2048


@dataclass(frozen=True)
class LocalOptions:
    """Constants of the regression; the defaults were chosen on real frames (see docs/completion.md).

    Attributes:
        reach: Standard scale of the weight of place, in distances to the :attr:`rank`-th neighbour.
        rank: See ``reach``.
        colour: Standard deviation of the weight of colour, CIELAB units (8-bit).
        floor: Least weight of colour, so that a pixel of a colour of its own still has neighbours.
        slope_ridge: Ridge of the plane's slope.
        model_ridge: Ridge of the model's share.
        passes: Reweighting passes.
    """

    reach: float = 0.35
    rank: int = 5
    colour: float = 24.0
    floor: float = 1e-5
    slope_ridge: float = 0.04
    model_ridge: float = 0.1
    passes: int = 2


class Points(NamedTuple):
    """Measured points, each (n,): place in pixels, guide colour (3, n), value and model's value, trust in [0, 1]."""

    x: Tensor
    y: Tensor
    guide: Tensor
    value: Tensor
    model: Tensor
    trust: Tensor


class Pixels(NamedTuple):
    """Where to estimate, (T, C) each: place, guide colour (3, T, C), model's value, share of the model to draw towards."""

    x: Tensor
    y: Tensor
    guide: Tensor
    model: Tensor
    share: Tensor


class Estimate(NamedTuple):
    """(T, C) each: value, effective share of the model in it, spread of the neighbours around the fit, nearest point (px)."""

    value: Tensor
    share: Tensor
    spread: Tensor
    distance: Tensor


def regress(
    pixels: Pixels,
    points: Points,
    neighbours: Tensor,
    bandwidth: Tensor,
    tolerance: Tensor,
    options: LocalOptions,
    left_out: Tensor | None = None,
) -> Estimate:
    """Estimate values at pixels from their neighbours.

    Args:
        pixels: Where, T per tile.
        points: What was measured.
        neighbours: int64 (K, C), indices into ``points``, nearest first.
        bandwidth: (C,) distance to the :attr:`LocalOptions.rank`-th neighbour, pixels.
        tolerance: Relative-depth tolerance of the reweighting in units of ``value``: (T, C), or broadcastable to it.
        options: Constants.
        left_out: bool (K, C), neighbours that do not count.
    """
    tiles = neighbours.shape[1]
    tolerance = tolerance.expand_as(pixels.model)
    parts = [
        _regress(
            Pixels(*(field[..., part] for field in pixels)),
            points,
            neighbours[:, part],
            bandwidth[part],
            tolerance[:, part],
            options,
            None if left_out is None else left_out[:, part],
        )
        for part in (slice(first, first + _AT_ONCE) for first in range(0, tiles, _AT_ONCE))
    ]
    return Estimate(*(torch.cat(fields, dim=1) for fields in zip(*parts, strict=True)))


def _regress(
    pixels: Pixels,
    points: Points,
    neighbours: Tensor,
    bandwidth: Tensor,
    tolerance: Tensor,
    options: LocalOptions,
    left_out: Tensor | None,
) -> Estimate:
    """:func:`regress` for a few tiles."""

    def of(table: Tensor) -> Tensor:
        return table[neighbours][:, None, :]

    scale = 1.0 / (options.reach * bandwidth + 0.1)
    dx, dy = (of(points.x) - pixels.x) * scale, (of(points.y) - pixels.y) * scale
    apart = torch.addcmul(dx * dx, dy, dy)
    nearest = apart if left_out is None else apart.masked_fill(left_out[:, None, :], torch.inf)
    distance = nearest.amin(0).sqrt() / scale
    closeness = 1.0 / (1.0 + apart)
    colour = torch.zeros_like(closeness)
    for channel in range(len(points.guide)):
        difference = of(points.guide[channel]) - pixels.guide[channel]
        colour.addcmul_(difference, difference)
    trust = points.trust[neighbours]
    if left_out is not None:
        trust = trust.masked_fill(left_out, 0.0)
    weight = colour.mul_(-0.5 / options.colour**2).exp_().add_(options.floor).mul_(closeness).mul_(closeness)
    weight.mul_(trust[:, None, :]).add_(1e-12 * (trust[:, None, :] + 1e-6))
    dm = of(points.model) - pixels.model
    value = of(points.value) - pixels.share * dm

    def mean(weights: Tensor, numbers: Tensor) -> Tensor:
        return (weights * numbers).sum(0)

    centre = mean(weight, value) / weight.sum(0)
    inverse_tolerance = 1.0 / tolerance
    base = weight
    for _ in range(options.passes):
        weight = base / (value - centre).mul_(inverse_tolerance).square_().add_(1.0)
        centre = mean(weight, value) / weight.sum(0)
    weight = weight / weight.sum(0)
    dm = dm * (inverse_tolerance * 2)
    wx, wy, wm = weight * dx, weight * dy, weight * dm
    mx, my, mm = wx.sum(0), wy.sum(0), wm.sum(0)
    residual = value - centre
    xx = mean(wx, dx) - mx * mx + options.slope_ridge
    xy = mean(wx, dy) - mx * my
    xm = mean(wx, dm) - mx * mm
    yy = mean(wy, dy) - my * my + options.slope_ridge
    ym = mean(wy, dm) - my * mm
    mm2 = mean(wm, dm) - mm * mm + options.model_ridge
    px, py, pm = mean(wx, residual), mean(wy, residual), mean(wm, residual)
    gx, gy, b = solve3(xx, xy, xm, yy, ym, mm2, px, py, pm)
    variance = mean(weight, residual.square()) - gx * px - gy * py - b * pm
    # Without ringing: no estimate leaves the range of what the neighbours say.
    low, high = value.amin(0), value.amax(0)
    estimate = torch.minimum(torch.maximum(centre - gx * mx - gy * my - b * mm, low), high)
    return Estimate(estimate, pixels.share + b * (inverse_tolerance * 2), variance.clamp_min_(0).sqrt_(), distance)


def solve3(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, p: Tensor, q: Tensor, r: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve the symmetric positive definite ``[[a b c] [b d e] [c e f]] x = [p q r]`` elementwise (Cramer)."""
    ca, cb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    inverse = 1.0 / (a * ca + b * cb + c * cc)
    x = (ca * p + cb * q + cc * r) * inverse
    y = (cb * p + (a * f - c * c) * q + (b * c - a * e) * r) * inverse
    z = (cc * p + (b * c - a * e) * q + (a * d - b * b) * r) * inverse
    return x, y, z
