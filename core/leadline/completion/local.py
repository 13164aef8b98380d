"""Locally weighted regression: what the points around a pixel, its colour and the model say about its value.

Around every pixel the K nearest points are fitted by ``value = c + gx·dx + gy·dy + b·dm`` where ``dm`` is the difference of
the model's map. A point counts more if it is near (relative to how dense the points are there) and of the pixel's
colour; two reweighting passes let the majority decide at an edge. Ridge terms draw the plane towards flat and ``b`` towards
a given share of the model. (Locally weighted regression: Cleveland, JASA 1979; weights of place and colour: Tomasi &
Manduchi, ICCV 1998; reweighting: Cauchy's function as in Holland & Welsch, 1977.)

Everything is torch on the device of the model's map, laid out (K, T, C): K neighbours of C tiles with T pixels each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from leadline.completion.blocks import by_blocks
from leadline.completion.traced import Traced
from leadline.completion.tuned import BLOCKS


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
    """Measured points, each (n,): place in pixels, guide colour (3, n), value and model's value; variance of the value if known."""

    x: Tensor
    y: Tensor
    guide: Tensor
    value: Tensor
    model: Tensor
    variance: Tensor | None = None


class Pixels(NamedTuple):
    """Where to estimate, (T, C) each: place, guide colour (3, T, C), model's value, share of the model to draw towards."""

    x: Tensor
    y: Tensor
    guide: Tensor
    model: Tensor
    share: Tensor


class Estimate(NamedTuple):
    """(T, C) each.

    Attributes:
        value: What is estimated.
        share: Effective share of the model in it.
        spread: Of the neighbours around the fit, those on another surface hardly counted.
        distance: To the nearest point, pixels.
        step: Spread of all neighbours, those on another surface included: large beside an edge, where the side may be wrong.
        off_colour: Distance in colour to the neighbour that is most alike, CIELAB units.
        off_model: Least difference of the model's map to that of a neighbour.
    """

    value: Tensor
    share: Tensor
    spread: Tensor
    distance: Tensor
    step: Tensor
    off_colour: Tensor
    off_model: Tensor


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
    tolerance = tolerance.expand_as(pixels.model)
    given = points.variance is not None, left_out is not None

    def arguments(tiles: slice) -> tuple[Tensor, ...]:
        optional = points.variance, None if left_out is None else left_out[:, tiles]
        return (
            *(field[..., tiles] for field in pixels),
            *points[:5],
            neighbours[:, tiles],
            bandwidth[tiles],
            tolerance[:, tiles],
            *(one for one in optional if one is not None),
        )

    compute: Callable[..., tuple[Tensor, ...]] = partial(_flat, options, *given)
    if neighbours.device.type == "cpu":
        key = options, len(neighbours), given, tolerance.dtype
        compute = _TRACED.of(key, compute, lambda: arguments(slice(0, 2)))

    def part(tiles: slice) -> Estimate:
        return Estimate(*compute(*arguments(tiles)))

    per_tile = len(pixels.model)
    parts = by_blocks(
        part,
        neighbours.shape[1],
        neighbours.device,
        -(-BLOCKS.regressed[0] // per_tile),
        max(1, BLOCKS.regressed[1] // per_tile),
    )
    return Estimate(*(torch.cat(fields, dim=1) for fields in zip(*parts, strict=True)))


_TRACED = Traced()


def _flat(options: LocalOptions, with_variance: bool, with_left_out: bool, *given: Tensor) -> tuple[Tensor, ...]:
    """:func:`_regress` of plain tensors."""
    pixels, (neighbours, bandwidth, tolerance) = Pixels(*given[:5]), given[10:13]
    points = Points(given[5], given[6], given[7], given[8], given[9], given[13] if with_variance else None)
    return tuple(
        _regress(pixels, points, neighbours, bandwidth, tolerance, options, given[-1] if with_left_out else None)
    )


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

    flat, shape = neighbours.flatten(), (len(neighbours), 1, neighbours.shape[1])

    def of(table: Tensor) -> Tensor:
        return table.index_select(0, flat).view(shape)

    def mean(weights: Tensor, numbers: Tensor) -> Tensor:
        return (weights * numbers).sum(0)

    scale = 1.0 / (options.reach * bandwidth + 0.1)
    dx = of(points.x) * scale - pixels.x * scale
    dy = of(points.y) * scale - pixels.y * scale
    apart = torch.addcmul(dx * dx, dy, dy)
    nearest = apart if left_out is None else apart.masked_fill(left_out[:, None, :], torch.inf)
    distance = nearest.amin(0).sqrt() / scale
    apart.add_(1.0)
    per_colour = 0.5**0.5 / options.colour
    colour = torch.zeros_like(apart)
    for ours, theirs in zip(pixels.guide * per_colour, points.guide * per_colour, strict=True):
        difference = of(theirs) - ours
        colour.addcmul_(difference, difference, value=-1.0)
    alike = colour if left_out is None else colour.masked_fill(left_out[:, None, :], -torch.inf)
    off_colour = alike.amax(0).mul_(-2.0).sqrt_().mul_(options.colour)
    weight = colour.exp_().add_(options.floor).div_(apart).div_(apart).add_(1e-12)
    if left_out is not None:
        weight.masked_fill_(left_out[:, None, :], 1e-18)
    # Values in units of the tolerance, differences of the model in units of half of it.
    unit = 1.0 / tolerance
    if points.variance is not None:
        weight.div_(torch.addcmul(torch.ones_like(unit), of(points.variance), unit * unit))
    dm = of(points.model) * (2.0 * unit) - pixels.model * (2.0 * unit)
    off = dm.abs() if left_out is None else dm.abs().masked_fill_(left_out[:, None, :], torch.inf)
    off_model = off.amin(0).mul_(0.5).mul_(tolerance)
    value = torch.addcmul(of(points.value) * unit, dm, 0.5 * pixels.share, value=-1.0)
    centre = mean(weight, value) / weight.sum(0)
    base, one = weight, torch.ones((), dtype=value.dtype, device=value.device)
    for _ in range(options.passes):
        off = value - centre
        weight = base / torch.addcmul(one, off, off)
        centre = mean(weight, value) / weight.sum(0)
    weight = weight / weight.sum(0)
    residual = value - centre
    step = (mean(base, residual * residual) / base.sum(0)).sqrt_()
    wx, wy, wm, wr = weight * dx, weight * dy, weight * dm, weight * residual
    mx, my, mm = wx.sum(0), wy.sum(0), wm.sum(0)
    xx = mean(wx, dx) - mx * mx + options.slope_ridge
    xy = mean(wx, dy) - mx * my
    xm = mean(wx, dm) - mx * mm
    yy = mean(wy, dy) - my * my + options.slope_ridge
    ym = mean(wy, dm) - my * mm
    mm2 = mean(wm, dm) - mm * mm + options.model_ridge
    px, py, pm = mean(wr, dx), mean(wr, dy), mean(wr, dm)
    gx, gy, b = solve3(xx, xy, xm, yy, ym, mm2, px, py, pm)
    variance = mean(wr, residual) - gx * px - gy * py - b * pm
    # Without ringing: no estimate leaves the range of what the neighbours say.
    low, high = value.amin(0), value.amax(0)
    estimate = torch.minimum(torch.maximum(centre - gx * mx - gy * my - b * mm, low), high)
    spread = variance.clamp_min_(0).sqrt_()
    share = pixels.share + 2.0 * b
    return Estimate(estimate * tolerance, share, spread * tolerance, distance, step * tolerance, off_colour, off_model)


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
