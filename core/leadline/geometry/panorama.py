"""Depth of a 360° panorama from maps of its tiles, and the closed surface around the viewer.

Each tile's map is known up to a scale and a shift of its own (:class:`leadline.depth.spaces.Space`). Where tiles overlap
they see the same distance, so all scales and shifts follow together from one linear least-squares problem. Its unknowns
enter linearly because distance r and depth z along a tile's axis differ by a known cosine c, z = c r: in disparity
1/r = c (a v + b), in depth r = (a v + b) / c, likewise for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import Space
from leadline.geometry.mesh import IntArray, Mesh
from leadline.geometry.ranges import assumed_depth
from leadline.geometry.sphere import Tile, between, cut_out, directions, directions_at, tiles
from leadline.geometry.tuned import PANORAMA
from leadline.types import FloatMap, RgbImage

FloatArray = npt.NDArray[np.floating[Any]]


class TileDepth(Protocol):
    """What a model says of a picture."""

    @property
    def values(self) -> FloatMap: ...
    @property
    def space(self) -> Space: ...
    @property
    def metric(self) -> bool: ...


T = TypeVar("T", bound=TileDepth)


def measure_panorama(
    panorama: RgbImage, predict: Callable[[int, int, RgbImage], T], range_m: tuple[float, float]
) -> tuple[FloatMap, T]:
    """Distance from the camera float32 (H, 2 H), metres, of an equirectangular panorama; and what was said of its middle.

    Args:
        panorama: RGB uint8, twice as wide as high.
        predict: Number of a tile, how many there are, and its picture uint8 (S, S, 3) → its depth, of its size.
        range_m: Nearest and farthest distance, assumed if the model does not know metres.

    Raises:
        ValueError: It is no panorama, or nothing says how its tiles fit together.
    """
    height, width = panorama.shape[:2]
    if abs(width - 2 * height) > PANORAMA.aspect_tolerance * width:
        raise ValueError(f"a 360° panorama is twice as wide as high; this picture has {width} × {height} pixels")
    over = tiles(min(max(width // 4, PANORAMA.least_tile), PANORAMA.largest_tile))
    found = [predict(index, len(over), cut_out(panorama, tile)) for index, tile in enumerate(over)]
    first, rows = found[0], min(height, PANORAMA.largest_height)
    maps = [depth.values for depth in found]
    return panorama_distance(maps, over, first.space, first.metric, range_m, rows), first


def panorama_distance(
    maps: Sequence[FloatArray],
    over: Sequence[Tile],
    space: Space,
    metric: bool,
    range_m: tuple[float, float],
    height: int,
) -> FloatMap:
    """Distance from the camera float32 (height, 2 * height), metres, of an equirectangular panorama.

    Args:
        maps: A model's map of each tile, of the tile's size.
        over: The tiles.
        space: What the maps' numbers mean.
        metric: Whether they are metres; then nothing is fitted.
        range_m: Nearest and farthest distance, assumed for maps that are not metric.
        height: Of the result.

    Raises:
        ValueError: The maps are not the tiles', or so flat that nothing says how they fit together.
    """
    if [m.shape for m in maps] != [(tile.size, tile.size) for tile in over]:
        raise ValueError("there has to be one map for each tile, of its size")
    scales, shifts, bend = (np.ones(len(over)), np.zeros(len(over)), 1.0) if metric else _fitted(maps, over, space)
    total = np.zeros((height, 2 * height))
    weights = np.zeros_like(total)
    rays = directions(height, 2 * height)
    for values, tile, scale, shift in zip(maps, over, scales, shifts, strict=True):
        x_px, y_px, cosine = tile.see(rays)
        seen = cosine > 0
        x_px, y_px = x_px[seen], y_px[seen]
        slope, offset, bent = _terms(space, _at(values, x_px, y_px), cosine[seen])
        # Towards a tile's border its neighbours take over.
        inner = 1 - 2 * np.maximum(np.abs(x_px / tile.size - 0.5), np.abs(y_px / tile.size - 0.5))
        weight = (inner + PANORAMA.border_weight) ** 2
        total[seen] += weight * (scale * slope + shift * offset + bend * bent)
        weights[seen] += weight
    on_one_scale = total / weights
    if metric:
        return np.asarray(space.to_depth(on_one_scale), np.float32)
    return assumed_depth(on_one_scale, space, *range_m)


def panorama_mesh(distance: FloatMap, long_edge: int = 0) -> tuple[Mesh, IntArray]:
    """The closed surface round the viewer at the origin: triangles seen from inside, textured by the panorama.

    Args:
        distance: (H, 2 H), metres.
        long_edge: Vertices around; 0 for one for each column.

    Returns:
        The mesh, whose seam and poles have a vertex for each texture coordinate; and int32 (V,), for each vertex the number
        of the first that lies in the same place. With these numbers in its faces the surface is closed.
    """
    height, width = distance.shape
    columns = (long_edge or width) + 1
    rows = max(round((columns - 1) * height / width), 2) + 1
    u, v = np.linspace(0, 1, columns), np.linspace(0, 1, rows)
    x_px, y_px = np.broadcast_arrays(u * width - 0.5, v[:, None] * height - 0.5)
    depth = np.divide(1, between(1 / distance, x_px, y_px), dtype=np.float32)
    depth[:, -1] = depth[:, 0]
    depth[[0, -1]] = depth[[0, -1], :-1].mean(axis=1, keepdims=True)
    points = directions_at((u - 0.5) * 2 * np.pi, ((0.5 - v) * np.pi)[:, None]) * depth[..., None]
    points[:, -1] = points[:, 0]
    points[[0, -1]] = depth[[0, -1], :1, None] * np.array([[[0, 1, 0]], [[0, -1, 0]]], np.float32)
    number = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    upper, lower = number[:-1], number[1:]
    # The triangles that a pole would shrink to nothing are left out.
    left = np.stack([upper[:-1, :-1], lower[:-1, :-1], lower[:-1, 1:]], axis=-1)
    right = np.stack([upper[1:, :-1], lower[1:, 1:], upper[1:, 1:]], axis=-1)
    faces = np.concatenate([left.reshape(-1, 3), right.reshape(-1, 3)])
    same = number.copy()
    same[:, -1] = same[:, 0]
    same[0], same[-1] = same[0, 0], same[-1, 0]
    uv = np.stack(np.broadcast_arrays(u, 1 - v[:, None]), axis=-1).reshape(-1, 2)
    mesh = Mesh(points.reshape(-1, 3).astype(np.float32), faces, uv.astype(np.float32), depth.ravel())
    return mesh, same.ravel()


def _fitted(maps: Sequence[FloatArray], over: Sequence[Tile], space: Space) -> tuple[FloatArray, FloatArray, float]:
    """Scale and shift for each tile, so that overlapping tiles agree, and the weight of what bends logarithms.

    The scale of it all is free. Of all fits, the one is taken whose disagreement is the smallest share of the variation over
    the whole sphere: so no fit is good by being flat. Rays on which tiles disagree strongly count less.
    """
    rays = _spread(PANORAMA.rays)
    spread = float(np.median([np.std(values) for values in maps]))
    if not spread > 0:
        raise ValueError("the maps of this panorama are flat: nothing says how they fit together")
    count = len(over)
    # One row for each ray and tile: the terms of its distance, 0 where the tile does not see it.
    rows = np.zeros((count, len(rays), 2 * count + 1))
    seen = np.zeros((count, len(rays)), np.bool_)
    for index, (values, tile) in enumerate(zip(maps, over, strict=True)):
        x_px, y_px, cosine = tile.see(rays)
        seen[index] = inside = cosine > 0
        slope, offset, bent = _terms(space, _at(values, x_px[inside], y_px[inside]) / spread, cosine[inside])
        rows[index, inside, index], rows[index, inside, count + index], rows[index, inside, -1] = slope, offset, bent
    shared = seen.sum(axis=0)
    rows *= seen[..., None]
    mean = rows.sum(axis=0) / np.maximum(shared, 1)[:, None]
    apart = (rows - mean * seen[..., None]).reshape(-1, 2 * count + 1)
    varied = mean[shared > 0] - mean[shared > 0].mean(axis=0)
    whole = varied.T @ varied / len(varied)
    little = np.eye(len(whole)) * PANORAMA.ridge * np.trace(whole) / len(whole)
    weight = np.ones(len(apart))
    for _ in range(PANORAMA.rounds):
        disagreement = (apart * weight[:, None]).T @ apart / len(varied) + little
        # The generalised eigenproblem whole x = ratio disagreement x, by Cholesky.
        unbend = np.linalg.inv(np.linalg.cholesky(disagreement))
        answer = unbend.T @ np.linalg.eigh(unbend @ whole @ unbend.T)[1][:, -1]
        off = np.abs(apart @ answer)
        limit = PANORAMA.outlier * float(np.median(off[off > 0])) if (off > 0).any() else 0.0
        weight = np.minimum(1.0, limit / np.maximum(off, np.finfo(float).tiny))
    if answer[:count].sum() < 0:
        answer = -answer
    return answer[:count] / spread, answer[count:-1], float(answer[-1])


def _terms(space: Space, values: FloatArray, cosine: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What scale, shift and bend are multiplied with to give the distance in ``space``."""
    zero = np.zeros_like(cosine)
    if space is Space.LOG_DEPTH:
        return values, np.ones_like(cosine), -np.log(cosine)
    factor = {Space.DISPARITY: cosine, Space.SQRT_DISPARITY: np.sqrt(cosine), Space.DEPTH: 1 / cosine}[space]
    return values * factor, factor, zero


def _at(values: FloatArray, x_px: FloatArray, y_px: FloatArray) -> FloatArray:
    """Nearest pixels: nothing hangs between an object and its background."""
    return values[y_px.astype(np.intp), x_px.astype(np.intp)].astype(np.float64)


def _spread(count: int) -> FloatArray:
    """(count, 3) unit directions, evenly over the sphere (Fibonacci's lattice)."""
    at = np.arange(count) + 0.5
    return directions_at(np.pi * (1 + 5**0.5) * at, np.arcsin(1 - 2 * at / count))
