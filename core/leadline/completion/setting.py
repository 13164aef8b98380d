"""What the parts of the fusion share: the grid, the points on it, their neighbours, and what counts as another surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.blocks import beside
from leadline.completion.fit import Fit
from leadline.completion.grid import WorkingGrid
from leadline.completion.local import Pixels, Points
from leadline.completion.neighbours import Neighbours
from leadline.completion.options import FusionOptions
from leadline.completion.tuned import BLOCKS, RANGE, SETTING
from leadline.depth.spaces import Space
from leadline.sensors.sparse import SparseDepth

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """One image's points on its working grid. Maps of the grid are laid out (T, C): pixel of the tile, tile.

    Attributes:
        options: Constants.
        space: Of all values here.
        fit: Scale and shift that made ``map``.
        sparse: The points as they came.
        map: float32 (H, W), the fitted model.
        model: (T, C), the same on the grid.
        grid: The working grid.
        guide: (3, h, w) colours of it.
        tiles: int64 (n,), the tile of each point.
        depth_m: (n,) what was measured.
        points: The same in ``space``, with the model there.
        search: Finds neighbours.
        neighbours: int64 (K, C), the points around each tile, nearest first.
        distances: (K, C) how far they are, pixels.
        line_step: Pixels from a point of a scan line to the next; None if the points are not a scanner's.
        spacing: A pixel's usual distance to the nearest point.
    """

    options: FusionOptions
    space: Space
    fit: Fit
    sparse: SparseDepth
    map: Tensor
    model: Tensor
    grid: WorkingGrid
    guide: Tensor
    tiles: Tensor
    depth_m: Tensor
    points: Points
    search: Neighbours
    neighbours: Tensor
    distances: Tensor
    line_step: float | None
    spacing: float

    @classmethod
    def of(
        cls, rgb: Rgb, values: Tensor, sparse: SparseDepth, fit: Fit, space: Space, options: FusionOptions
    ) -> Setting:
        """Lay the points of an image, one or more, on a grid and find their neighbours."""
        search = _search(sparse, values.device)
        height, width = values.shape
        grid = _grid(search, height, width, options)

        def maps() -> tuple[Tensor, Tensor, Tensor]:
            guide = grid.guide(rgb, options.guide_blur_px * max(width / 640, 0.5), values.device)
            fitted = torch.add(fit.shift, values, alpha=fit.scale)
            return fitted, grid.tiled(grid.coarse(fitted)), guide

        return cls._laid_out(sparse, search, beside(maps), grid, fit, space, options)

    def without_wrong(self, rgb: Rgb, values: Tensor, kept: npt.NDArray[np.bool_]) -> Setting:
        """The same image with some of its points, bool (n,)."""
        sparse = self.sparse.subset(kept)
        search = _search(sparse, self.map.device)
        grid = _grid(search, self.grid.height, self.grid.width, self.options)
        if grid != self.grid:
            return Setting.of(rgb, values, sparse, self.fit, self.space, self.options)
        maps = self.map, self.model, self.guide
        return Setting._laid_out(sparse, search, lambda: maps, grid, self.fit, self.space, self.options)

    @classmethod
    def _laid_out(
        cls,
        sparse: SparseDepth,
        search: Neighbours,
        maps: Callable[[], tuple[Tensor, Tensor, Tensor]],
        grid: WorkingGrid,
        fit: Fit,
        space: Space,
        options: FusionOptions,
    ) -> Setting:
        device = search.places.device
        u, v = search.places.long().T
        depth_m = torch.as_tensor(sparse.depth_m, device=device)
        value = space.from_depth(depth_m)
        fitted, model, guide = maps()
        line_step = _step_along_lines(search, grid.height * grid.width, options)
        many = line_step is not None and not _evenly_covering(search, grid.height * grid.width, line_step)
        count = min(options.line_neighbours if many else options.neighbours, len(sparse))
        distances, neighbours = search.nearest(grid.centres(device), count)
        points = Points(
            x=search.places[:, 0].contiguous(),
            y=search.places[:, 1].contiguous(),
            guide=guide[:, v // grid.stride, u // grid.stride],
            value=value,
            model=fitted[v, u],
            variance=None
            if sparse.sigma_m is None
            else (torch.as_tensor(sparse.sigma_m, device=device) / space.depth_slope(value)).square(),
        )
        tiles = torch.as_tensor(grid.tile_of(sparse.u, sparse.v), device=device)
        spacing = max(float(distances[0].median()), 0.5)
        return cls(
            options, space, fit, sparse, fitted, model, grid, guide, tiles, depth_m, points, search, neighbours, distances,
            line_step, spacing,
        )  # fmt: skip

    @property
    def in_lines(self) -> bool:
        """Whether the points are a scanner's."""
        return self.line_step is not None

    @property
    def nearest(self) -> Tensor:
        """(C,) pixels from each tile to its nearest point."""
        return self.distances[0]

    @property
    def bandwidth(self) -> Tensor:
        """(C,) pixels from each tile to its neighbour of the regression's rank."""
        return self.bandwidth_of(self.distances)

    def bandwidth_of(self, distances: Tensor) -> Tensor:
        """(C,) the same of other places, given the distances (K, C) of their neighbours."""
        return distances[min(self.options.local.rank, len(distances) - 1)].clamp_min(1.0)

    def within_reach(self, nearest: Tensor) -> Tensor:
        """In [0, 1]: how far points that are so many pixels away speak for a place; the rest is the model's."""
        reach = self.options.reach_spacings * self.spacing + self.grid.stride
        return 1.0 / (1.0 + (nearest / reach) ** 4)

    def beyond_range(self) -> Tensor:
        """(C,) in [0, 1]: how surely a tile lies farther than the sensor reports anything.

        Where a sensor stops at some depth, a large part of the picture has no points, and the model puts it beyond all of them.
        """
        nearest = self.nearest
        covered = float(torch.quantile(nearest, RANGE.covered)) * RANGE.usual + self.grid.stride
        empty = 1.0 - 1.0 / (1.0 + (nearest / (RANGE.empty * covered)) ** 4)
        end_m = torch.quantile(self.model_m()[:: max(1, len(self.sparse) // BLOCKS.far_end)], RANGE.end)
        depth = self.within(self.space.to_depth(self.model))
        farther = torch.log(depth / end_m).mean(0)
        share = float(((farther > 0) & (empty > 0.5)).float().mean())
        cut = min(max((share - RANGE.chance) / (RANGE.surely - RANGE.chance), 0.0), 1.0)
        return cut * empty * (1.0 + farther / RANGE.ramp).clamp_(0.0, 1.0)

    def dense_enough(self, bandwidth: Tensor) -> Tensor:
        """In [0, 1]: how far points whose fifth neighbour is so many pixels away may correct the model locally at all."""
        reach = self.options.reach_diagonal * float(np.hypot(self.grid.height, self.grid.width))
        return 1.0 / (1.0 + (bandwidth / reach) ** 4)

    def tolerance(self, values: Tensor) -> Tensor:
        """What the relative tolerance is at these values, in their unit."""
        if self.in_lines:
            return self.differences(self.options.line_tolerance, values)
        apart = (self.grid.height * self.grid.width / len(self.sparse)) ** 0.5
        return self.differences(self.options.tolerance * min(1.0, apart / self.options.dense_px), values)

    def differences(self, relative: float, values: Tensor) -> Tensor:
        """Differences of the values that are this relative difference of depth."""
        return relative * self.space.to_depth(values) / self.space.depth_slope(values)

    def within(self, depth: Tensor) -> Tensor:
        """``depth``, metres, changed in place: nowhere far beyond the nearest and the farthest point."""
        return within(depth, self.sparse, self.options.range_factor)

    def model_m(self) -> Tensor:
        """(n,) metres: the fitted model at the points."""
        return self.within(self.space.to_depth(self.points.model))

    def pixels(self, share: Tensor) -> Pixels:
        """The grid's pixels for the regression, drawn so far towards the model, (C,)."""
        return Pixels(
            *self.grid.places(self.map.device),
            self.grid.tiled(self.guide),
            self.model,
            share.float().expand_as(self.model),
        )


def within(depth: Tensor, sparse: SparseDepth, factor: float) -> Tensor:
    """``depth``, metres, changed in place: beyond the nearest and the farthest point by this factor at most."""
    if len(sparse) == 0:
        return depth
    return depth.clamp_(float(sparse.depth_m.min()) / factor, float(sparse.depth_m.max()) * factor)


def _search(sparse: SparseDepth, device: torch.device) -> Neighbours:
    return Neighbours(torch.as_tensor(np.stack([sparse.u, sparse.v], axis=1), device=device).float())


def _grid(search: Neighbours, height: int, width: int, options: FusionOptions) -> WorkingGrid:
    """As fine as the points are dense where they are: what lies between lines, or has no points at all, tells nothing."""
    step = max(1, round((height * width / SETTING.asked) ** 0.5))
    y, x = (torch.arange(step // 2, length, step, device=search.places.device) for length in (height, width))
    nearest = search.nearest(torch.cartesian_prod(y, x).flip(1).float(), 1)[0]
    spacing = SETTING.scattered * float(torch.quantile(nearest, SETTING.near))
    return WorkingGrid.for_points(height, width, spacing, options.working_pixels)


def _step_along_lines(search: Neighbours, pixels: int, options: FusionOptions) -> float | None:
    """Pixels from a point of a scan line to the next; None if the points are not a scanner's.

    They are if they are in line with the four nearest to them, or much closer to the nearest than scattered ones are.
    """
    places = search.places
    if len(places) < SETTING.fewest_in_lines:
        return None
    some = places[:: max(1, len(places) // SETTING.asked)]
    distances, nearest = search.nearest(some, 5)
    apart = places[nearest] - some
    x, y = apart[..., 0], apart[..., 1]
    xx, yy, xy = (x * x).sum(0), (y * y).sum(0), (x * y).sum(0)
    root = torch.hypot(xx - yy, 2 * xy)  # of the eigenvalues of the scatter
    in_line = bool(((xx + yy - root) / (xx + yy + root)).median() < options.in_line)
    step = float(distances[1].median())
    scattered = 0.5 * (pixels / len(places)) ** 0.5
    return step if in_line or (scattered > 1.5 and step < SETTING.closer * scattered) else None


def _evenly_covering(search: Neighbours, pixels: int, step: float) -> bool:
    """Whether points so many pixels apart are scattered evenly over the part of the picture that they cover (all but a sky)."""
    count = len(search.places)
    side = (SETTING.per_cell * pixels / count) ** 0.5
    cells = (search.places / side).long()
    covered = len(torch.unique(cells[:, 0] * (1 << 20) + cells[:, 1])) * side * side
    return step > SETTING.evenly * 0.5 * (covered / count) ** 0.5
