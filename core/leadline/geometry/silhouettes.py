"""Where one object ends and another begins behind it: the cells of the lattice that must not be bridged.

Three criteria, each of which cuts. *Jump*: the disparity changes by more than the slopes on either side continue to; of a
blurred jump the whole height counts, as far as the shape of its slope tells it.
*Angle*: the surface turns so far from the viewer that it is almost a line of sight, as the ramps are that networks draw,
however wide, where one object covers another.
*Ridge*: nearness rises and falls again, or falls and rises, without a level part: blur drew a pole or a gap wide.

A steep surface is not always an edge. Seen in perspective, the disparity of a plane is linear in the image, however flat
the angle under which it is seen (a floor towards the horizon). No criterion cuts what goes on linearly.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import SILHOUETTES
from leadline.types import BoolMap, FloatMap

#: Angle between a surface's normal and the line of sight, degrees, beyond which it counts as a ramp.
STEEPEST_DEGREES = 78.0
#: Parts in which a ridge's slope is looked at.
_SLOPE_PARTS = 6


def silhouette_cells(
    depth: npt.NDArray[np.floating[Any]],
    threshold: float,
    focal: float | None = None,
    steepest: float = STEEPEST_DEGREES,
    keep_planes: bool = True,
) -> BoolMap:
    """Cells (rows-1, columns-1) that cross a silhouette.

    Args:
        depth: (rows, columns) of the lattice, > 0.
        threshold: Relative jump that counts, in (0, 1): 0.1 cuts where the nearer side lies 10 % nearer than the
            farther one. At 1 or above nothing is cut.
        focal: Focal length in steps of the lattice, for the angle criterion; None: only jumps are cut.
        steepest: Degrees between a surface's normal and the line of sight, in (0, 90), from which a ramp is cut.
        keep_planes: Do not cut what is steep but goes on linearly, such as a floor; False: cut whatever is too steep.
    """
    rows, columns = depth.shape
    cells = np.zeros((rows - 1, columns - 1), np.bool_)
    if threshold >= 1:
        return cells
    disparity = (1.0 / depth).astype(np.float32)
    across = _cut_along(disparity, 1, threshold, focal)
    cells |= across[:-1] | across[1:]
    down = _cut_along(disparity, 0, threshold, focal)
    cells |= down[:, :-1] | down[:, 1:]
    if focal is not None:
        cells |= _ramps(disparity, focal, steepest, keep_planes)
    return cells


def flying_points(depth: npt.NDArray[np.floating[Any]], threshold: float, focal: float) -> BoolMap:
    """bool (rows, columns): points that hang between two surfaces, with no surface of their own.

    All cells around them cross a silhouette. What a mesh of this lattice leaves out, a point cloud should leave out, too.

    Args:
        depth: (rows, columns) of the lattice; what is not finite and > 0 counts as far away, and does not fly.
        threshold, focal: As for :func:`silhouette_cells`.
    """
    known = np.isfinite(depth) & (depth > 0)
    far = np.where(known, depth, np.float32(1e9))
    around = np.ones((depth.shape[0] + 1, depth.shape[1] + 1), np.bool_)
    around[1:-1, 1:-1] = silhouette_cells(far, threshold, focal)
    return np.asarray(known & around[:-1, :-1] & around[1:, :-1] & around[:-1, 1:] & around[1:, 1:])


def jumps(depth: npt.NDArray[np.floating[Any]]) -> FloatMap:
    """float32 (rows-1, columns-1) in [0, 1]: the threshold below which ``silhouette_cells``, without a focal length, cuts a cell.

    Args:
        depth: (rows, columns) of the lattice, > 0.
    """
    rows, columns = depth.shape
    disparity = (1.0 / depth).astype(np.float32)
    reach = _ramp_reach(disparity)
    found = np.zeros((rows - 1, columns - 1), np.float32)
    across = _edge_jumps(disparity, 1, reach)
    np.maximum(across[:-1], across[1:], out=found)
    down = _edge_jumps(disparity, 0, reach)
    np.maximum(found, np.maximum(down[:, :-1], down[:, 1:]), out=found)
    return np.minimum(found, np.float32(1), out=found)


def _ramp_reach(disparity: FloatMap) -> int:
    """Half the width, in steps of the lattice, of a ramp that counts as one edge."""
    return max(1, round(SILHOUETTES.ramp_share * max(disparity.shape)))


def _ramps(disparity: FloatMap, focal: float, steepest: float, keep_planes: bool) -> BoolMap:
    """Cells steeper than the limit; if ``keep_planes``, only those that are no part of a plane."""
    down = np.diff(disparity, axis=0)
    across = np.diff(disparity, axis=1)
    slope = np.stack([0.5 * (down[:, :-1] + down[:, 1:]), 0.5 * (across[:-1] + across[1:])])
    size = np.hypot(*slope)
    middle = 0.25 * (disparity[:-1, :-1] + disparity[1:, :-1] + disparity[:-1, 1:] + disparity[1:, 1:])
    # The surface rises by d(ln depth) · depth while it moves by depth / focal across the line of sight.
    ramps = np.asarray(size * focal > math.tan(math.radians(steepest)) * middle)
    if not keep_planes:
        return ramps
    rows, columns = np.nonzero(ramps)
    direction = slope[:, rows, columns] / size[rows, columns]
    here, rise = middle[rows, columns], size[rows, columns]
    planes = [np.ones(len(rows), np.bool_), np.ones(len(rows), np.bool_)]
    long_edge = max(disparity.shape)
    for share in SILHOUETTES.plane_shares:
        for side, sign in enumerate((1.0, -1.0)):
            step = sign * max(share * long_edge, 2.0)
            row = rows + np.rint(step * direction[0]).astype(np.intp)
            column = columns + np.rint(step * direction[1]).astype(np.intp)
            inside = (row >= 0) & (column >= 0) & (row < middle.shape[0]) & (column < middle.shape[1])
            there = middle[np.where(inside, row, 0), np.where(inside, column, 0)]
            expected = step * rise
            planes[side] &= inside & (np.abs(there - here - expected) <= SILHOUETTES.plane_tolerance * np.abs(expected))
    ramps[rows, columns] = ~(planes[0] | planes[1])
    return ramps


def _cut_along(disparity: FloatMap, axis: int, threshold: float, focal: float | None) -> BoolMap:
    """Edges between neighbours along ``axis`` that belong to a jump: sharp, or, if ``focal`` is known, drawn wide."""
    long_edge = max(disparity.shape)
    cut = _edge_jumps(disparity, axis, _ramp_reach(disparity)) > threshold
    if focal is None:
        return cut
    for shares, degrees, least, height in (
        (SILHOUETTES.wide_shares, SILHOUETTES.wide_degrees, SILHOUETTES.wide_jump * threshold, _edge_jumps),
        (SILHOUETTES.levelled_shares, SILHOUETTES.levelled_degrees, threshold, _before_blur),
    ):
        steep = _steep_edges(disparity, axis, focal, degrees)
        for share in shares:
            reach = round(share * long_edge)
            if reach > 1:
                among = steep & ~_within(cut, axis, SILHOUETTES.explained * reach)
                cut |= height(disparity, axis, reach, among) > least
    return cut | _beside_ridges(disparity, axis, SILHOUETTES.ridge_height * threshold, focal)


def _beside_ridges(disparity: FloatMap, axis: int, least: float, focal: float) -> BoolMap:
    """Edges between neighbours along ``axis`` on both slopes of a ridge, or of a valley, of nearness that blur has drawn wide.

    A pole narrower than the blur, or a gap between two things, has one slope right behind the other, and no level part
    between them from which the height of a step could be told. ``least``: relative height from which it counts.
    """
    given = disparity if axis == 1 else disparity.T
    rises = np.diff(given, axis=1) > 0
    rows, columns = np.nonzero(rises[:, :-1] != rises[:, 1:])
    columns += 1
    sign = np.where(rises[rows, columns - 1], np.float32(1), np.float32(-1))
    cut = np.zeros(rises.shape, np.bool_)
    steepness = np.float32(2 * focal / math.tan(math.radians(SILHOUETTES.ridge_degrees)))
    for share in SILHOUETTES.ridge_shares:
        reach = round(share * max(disparity.shape))
        if reach < _SLOPE_PARTS // 2:
            continue
        whole = (columns >= reach) & (columns < given.shape[1] - reach)
        row, column, way = rows[whole], columns[whole], sign[whole]
        middle, ends = given[row, column], [given[row, column + end] for end in (-reach, reach)]
        height = np.minimum((middle - ends[0]) * way, (middle - ends[1]) * way)
        high = height > least * np.maximum(middle, np.maximum(*ends))
        row, column, height = row[high][:, None], column[high][:, None], height[high][:, None]
        slopes = [_steepest_part(given, row, column, side * reach) for side in (-1, 1)]
        blurred = np.ones(len(row), np.bool_)
        for _, size, steep in slopes:
            blurred &= (size <= SILHOUETTES.ridge_step * height[:, 0]) & (steep * steepness > 1)
        for at, _, _ in slopes:
            cut[row[blurred, 0], at[blurred]] = True
    return cut if axis == 1 else cut.T


def _steepest_part(
    given: FloatMap, row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], reach: int
) -> tuple[npt.NDArray[np.intp], FloatMap, FloatMap]:
    """Of the parts that a slope from (row, column) to ``reach`` columns beyond has: the steepest's middle, how much it changes, and that
    per column over the sum of its ends."""
    at = column + np.rint(np.linspace(min(reach, 0), max(reach, 0), _SLOPE_PARTS + 1)).astype(np.intp)
    ends = given[row, at]
    change = np.abs(np.diff(ends, axis=1))
    steepest = np.argmax(change, axis=1)[:, None]
    first, last = (np.take_along_axis(at, steepest + end, 1)[:, 0] for end in (0, 1))
    size = np.take_along_axis(change, steepest, 1)[:, 0]
    total = np.take_along_axis(ends[:, :-1] + ends[:, 1:], steepest, 1)[:, 0]
    return (first + last) // 2, size, size / (total * np.maximum(last - first, 1))


def _steep_edges(disparity: FloatMap, axis: int, focal: float, degrees: float) -> BoolMap:
    """Edges between neighbours along ``axis`` where normal and line of sight differ by more than so many degrees."""
    count = disparity.shape[axis]
    before, after = np.take(disparity, range(count - 1), axis), np.take(disparity, range(1, count), axis)
    return np.asarray(np.abs(after - before) * np.float32(2 * focal / math.tan(math.radians(degrees))) > before + after)


def _shown(reach: int, sigma: float) -> float:
    """Share of a step, blurred by ``sigma``, that ``_edge_jumps`` sees of it within ``reach``."""
    inner, outer = (math.erf((steps + 0.5) / (math.sqrt(2) * sigma)) for steps in (reach, 2 * reach))
    return inner - (outer - inner) * (reach + 0.5) / reach


@functools.cache
def _blurs(reach: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For ever narrower blurs: the share within ``reach`` over that within twice as much, and the step over the latter."""
    sigmas = reach * np.geomspace(4, 1 / 3, 64)
    narrow, wide = (np.array([_shown(steps, sigma) for sigma in sigmas]) for steps in (reach, 2 * reach))
    return narrow / wide, 1 / wide


def _before_blur(disparity: FloatMap, axis: int, reach: int, among: BoolMap) -> FloatMap:
    """Relative height of the step that each edge belonged to before it was blurred; 0 if that does not show.

    Of a step blurred by a Gaussian, what rises beyond its run-ups within ``reach`` and within twice that tells how wide
    the blur is, and so how much of the step lies outside and in the run-ups. Exact in the middle of the slope; off it the
    height comes out too high, which finds steps whose slopes run into each other, but also some of half the height.
    """
    narrow = _edge_jumps(disparity, axis, reach, among)
    wide = _edge_jumps(disparity, axis, 2 * reach, narrow > 0)
    shows = wide > 0
    ratio = narrow[shows] / wide[shows]
    gain = np.where(ratio >= SILHOUETTES.least_ratio, np.interp(ratio, *_blurs(reach)), 0)
    wide[shows] *= gain.astype(np.float32)
    return wide


def _within(edges: BoolMap, axis: int, reach: int) -> BoolMap:
    """Where an edge lies no farther than ``reach`` away along ``axis``."""
    count = edges.shape[axis]
    before = np.cumsum(edges, axis=axis, dtype=np.int32)
    at = np.arange(count)
    upto = np.take(before, np.minimum(at + reach, count - 1), axis)
    left = at - reach - 1
    earlier = np.take(before, np.maximum(left, 0), axis)
    earlier *= (left >= 0).reshape((-1, 1) if axis == 0 else (1, -1))
    return np.asarray(upto > earlier)


def _edge_jumps(disparity: FloatMap, axis: int, reach: int, among: BoolMap | None = None) -> FloatMap:
    """Relative size of the jump that each edge between neighbours along ``axis`` belongs to; 0 if it belongs to none.

    There is one edge fewer than vertices along ``axis``. ``among``: the edges that are looked at; None: all.
    """
    count = disparity.shape[axis]
    at = np.arange(count - 1)
    start, end = np.maximum(at - reach, 0), np.minimum(at + 1 + reach, count - 1)
    before, after = np.maximum(start - reach, 0), np.minimum(end + reach, count - 1)
    if among is None:
        shape = (-1, 1) if axis == 0 else (1, -1)

        def value(vertices: npt.NDArray[np.intp]) -> FloatMap:
            return np.take(disparity, vertices, axis)

        def along(numbers: npt.NDArray[np.intp]) -> FloatMap:
            return numbers.astype(np.float32).reshape(shape)

    else:
        rows, columns = np.nonzero(among)
        index = rows if axis == 0 else columns

        def value(vertices: npt.NDArray[np.intp]) -> FloatMap:
            return disparity[vertices[index], columns] if axis == 0 else disparity[rows, vertices[index]]

        def along(numbers: npt.NDArray[np.intp]) -> FloatMap:
            return numbers[index].astype(np.float32)

    near_side, far_side = value(start), value(end)
    change = far_side - near_side
    steps = along(end - start)
    lead_in = (near_side - value(before)) / along(np.maximum(start - before, 1))
    lead_out = (value(after) - far_side) / along(np.maximum(after - end, 1))
    # At the border of the picture one side has no run-up; the other side speaks for both.
    lead_in = np.where(along(start - before) > 0, lead_in, lead_out)
    lead_out = np.where(along(after - end) > 0, lead_out, lead_in)

    expected = np.clip(change, np.minimum(lead_in, lead_out) * steps, np.maximum(lead_in, lead_out) * steps)
    excess = change - expected
    own_step = value(at + 1) - value(at)
    sign = np.sign(excess)
    # Beside a jump the run-up promises a change that does not come; an edge that belongs to a jump changes itself.
    own = np.minimum(own_step * sign, (own_step - expected / steps) * sign)
    belongs = own >= SILHOUETTES.ramp_step * np.abs(excess) / steps
    if reach > _ramp_reach(disparity):
        run_up = np.minimum(along(start - before), along(after - end))
        belongs &= run_up >= SILHOUETTES.least_run_up * reach
    size: FloatMap = np.where(belongs, np.abs(excess) / np.maximum(near_side, far_side), np.float32(0))
    if among is None:
        return size
    found = np.zeros(among.shape, np.float32)
    found[rows, columns] = size
    return found
