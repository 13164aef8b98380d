"""A map with scale and shift, and the points around every pixel → dense metric depth with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.fit import Fit
from leadline.completion.grid import WorkingGrid
from leadline.completion.local import Estimate, LocalOptions, Pixels, Points, regress
from leadline.completion.neighbours import Neighbours
from leadline.completion.outliers import Judge, keep
from leadline.completion.support import trust
from leadline.completion.uncertainty import Calibration, calibrate
from leadline.depth.spaces import Space
from leadline.sensors.sparse import SparseDepth

Rgb = npt.NDArray[np.uint8]

#: Depth is never put nearer or farther than the nearest and farthest point by more than this factor.
_RANGE_FACTOR = 4.0
#: An estimate lies this share beyond the depths of the points around at most, and so much more at every spacing of the points
#: from the nearest: where points are scattered, and between scan lines.
_BEYOND, _BEYOND_LINES = (0.05, 0.1), (0.25, 0.25)
#: Fewer points than this do not bound the estimate.
_MODEL_DECIDES = 100
#: Least over greatest eigenvalue of the scatter of a point's nearest neighbours, under which it is on a line with them.
_IN_LINE = 0.1
#: Pixels are this many times farther from the lines than points of a line are from each other, from which on all caution is due.
_APART = 4.0
#: One of so many left-out points of a scan line is told by other lines alone.
_STRIPS = 2
#: Among few points, one less far than this (in log depth) from most around it is also judged by rules: the network was taught
#: gross errors.
_SLIGHT = 0.1
#: The tolerance at which these rules ask whether neighbours agree.
_RULES_TOLERANCE = 0.2
#: Where scattered points are closer than this, pixels, the tolerance falls with their spacing: points across an edge are then as
#: near as those on this side of it, and the mean of both sides is on neither.
_DENSE = 5.0
#: Fewer points than this are few to their judge.
_FEW = 1000
#: Relative uncertainty claimed where there are too few points to measure it: by number of points, else the last.
_PRIOR_SIGMA = {1: 0.5, 2: 0.35, 3: 0.3}
_PRIOR_SIGMA_REST = 0.25


@dataclass(frozen=True)
class FusionOptions:
    """Constants of the fusion.

    Attributes:
        neighbours: Points that each pixel looks at; three quarters more where points lie in scan lines.
        working_pixels: The regression runs on a grid of about this many pixels (finer where points are dense) and is
            brought to full resolution with the model's own map.
        tolerance: Relative depth difference that starts to count as "another surface" among scattered points; less
            where they are dense.
        line_tolerance: The same among scan lines.
        left_out: Points left out to learn the model's share and the uncertainty.
        guide_blur_px: Blur of the guide image, in pixels of an image 640 wide.
        seed: For the choice of left-out points and the robust fit.
        through_points: Method "depthfm": correct the network's metres by the points around. False: leave them as they are.
    """

    neighbours: int = 12
    working_pixels: int = 65_000
    tolerance: float = 0.07
    line_tolerance: float = 0.2
    left_out: int = 2000
    guide_blur_px: float = 1.5
    seed: int = 0
    through_points: bool = True
    local: LocalOptions = field(default_factory=LocalOptions)


def fuse(
    rgb: Rgb,
    values: Tensor,
    spread: Tensor | None,
    sparse: SparseDepth,
    fit: Fit,
    space: Space,
    options: FusionOptions | None = None,
    report: dict[str, Any] | None = None,
) -> tuple[Tensor, Tensor]:
    """What :func:`leadline.completion.complete` does once scale and shift are fitted, on the device of ``values``.

    Maps stay on that device; only numbers about the points leave it.

    Args:
        rgb: uint8 (H, W, 3).
        values: float32 (H, W), the model's map in ``space``.
        spread: float32 (H, W), standard deviation of its ensemble, or None.
        sparse: One point or more.
        fit: Scale and shift.
        space: Of ``values``.
        options: Constants.
        report: Gets what was used.

    Returns:
        Depth and its standard deviation, float32 (H, W), metres.
    """
    options, report = options or FusionOptions(), {} if report is None else report
    fusion = Fusion(rgb, values, spread, sparse, fit, space, options)
    kept = fusion.believed().cpu().numpy()
    report["untrusted_points"] = int(np.count_nonzero(~kept))
    if kept.any() and not kept.all():
        fusion = Fusion(rgb, values, spread, sparse.subset(kept), fit, space, options)
    return fusion.run(report)


def prior_sigma(points: int) -> float:
    """Relative uncertainty claimed for too few points to measure it."""
    return _PRIOR_SIGMA.get(points, _PRIOR_SIGMA_REST)


def within(depth: Tensor, sparse: SparseDepth) -> Tensor:
    """``depth``, metres, changed in place: nowhere far beyond the nearest and the farthest point."""
    if len(sparse) == 0:
        return depth
    return depth.clamp_(float(sparse.depth_m.min()) / _RANGE_FACTOR, float(sparse.depth_m.max()) * _RANGE_FACTOR)


def _guarded(dx: Tensor, dy: Tensor, guard: Tensor, needed: int) -> Tensor:
    """Neighbours (K, m), nearest first, that are left out with a point of a scan line: bool (K, m).

    On a line, neighbours are closer than to the pixels between lines. Leaving out those within ``guard`` (m,), as far as a
    random pixel is from its nearest point, makes the test as hard as the task; for every other point the guard is a strip along
    its line, so that other lines must tell. At least half of the ``needed`` neighbours stay.
    """
    apart = torch.hypot(dx, dy)
    nearest = apart[1]
    across = (dx * dy[1] - dy * dx[1]).abs() / nearest.clamp_min(1e-3)
    limit = torch.minimum(guard, apart[-needed // 2])
    strip = (across < limit) & (apart < apart[-needed // 2])
    alternate = torch.arange(len(guard), device=guard.device) % _STRIPS == 0
    return torch.where(alternate, strip, apart < limit)


class Fusion:
    """One image's fusion. Maps of the working grid are laid out (T, C): pixel of the tile, tile."""

    def __init__(
        self,
        rgb: Rgb,
        values: Tensor,
        spread: Tensor | None,
        sparse: SparseDepth,
        fit: Fit,
        space: Space,
        options: FusionOptions,
    ) -> None:
        self.values, self.spread, self.sparse, self.fit, self.space, self.options = (
            values,
            spread,
            sparse,
            fit,
            space,
            options,
        )
        self.device = values.device
        height, width = values.shape
        self.spacing_px = (height * width / len(sparse)) ** 0.5
        self.grid = WorkingGrid.for_points(height, width, len(sparse), options.working_pixels)
        self.tiles = torch.as_tensor(self.grid.tile_of(sparse.u, sparse.v), device=self.device)
        self.depth_m = torch.as_tensor(sparse.depth_m, device=self.device)
        self._prepared: tuple[Points, Tensor, Tensor, Tensor] | None = None
        self.guide = self.grid.guide(rgb, options.guide_blur_px * max(width / 640, 0.5), self.device)
        self.map = values * fit.scale + fit.shift

    def run(self, report: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Depth and sigma, metres, (H, W) on the device of the model's map."""
        points, neighbours, bandwidth, nearest = self.prepare()
        spacing = max(float(nearest.median()), 0.5)
        share, calibration = self._leave_out(points, neighbours, bandwidth, nearest, spacing)
        far = 1.0 / (1.0 + (nearest / (6 * spacing + self.grid.stride)) ** 4)
        pixels = self._pixels(1.0 - (1.0 - share) * far)
        tolerance = self._tolerance(pixels.model)
        estimate = regress(pixels, points, neighbours, bandwidth, tolerance, self.options.local)
        estimate = estimate._replace(value=self._in_reach(estimate, neighbours, spacing))
        sigma = self._sigma(estimate, pixels.model, calibration)
        if self.spread is not None:
            members = self.grid.tiled(self.grid.coarse(self.spread)) * self.fit.scale * estimate.share
            sigma = torch.where(estimate.distance > 3 * spacing, torch.hypot(sigma, members), sigma)
        report.update(
            model_share=share,
            uncertainty="left-out points" if calibration is not None else "prior",
            working_stride=self.grid.stride,
        )
        return self._finish(estimate, sigma, pixels.model, points)

    def believed(self) -> Tensor:
        """bool (n,): points that the others do not contradict."""
        points, neighbours, _, _ = self.prepare()
        judge = Judge.FEW if len(self.sparse) < _FEW else Judge.MANY
        kept, off = keep(points, neighbours, self.tiles, self.depth_m, self.model_m(points), judge)
        if judge is Judge.MANY or bool(kept.all()):
            return kept
        unit = self._differences(_RULES_TOLERANCE, points.value)
        trusted = trust(points, neighbours, self.tiles, unit, self.options.local.colour, start=kept.to(unit.dtype))
        return kept & ~((trusted < 0.5) & (off.abs() < _SLIGHT))

    def model_m(self, points: Points) -> Tensor:
        """(n,) metres: the fitted model at the points."""
        return within(self.space.to_depth(points.model), self.sparse)

    # -- the points ----------------------------------------------------------------------------------------------

    def prepare(self) -> tuple[Points, Tensor, Tensor, Tensor]:
        """Points as tensors, (K, C) neighbours of the tiles, (C,) bandwidth and (C,) distance to the nearest."""
        if self._prepared is None:
            self._prepared = self._prepare()
        return self._prepared

    def _prepare(self) -> tuple[Points, Tensor, Tensor, Tensor]:
        places = torch.as_tensor(np.stack([self.sparse.u, self.sparse.v], axis=1), device=self.device)
        u, v = places.T
        places = places.float()
        self._search = Neighbours(places)
        self.line_step = self._step_along_lines(places)
        count = min(self.options.neighbours * (7 if self.in_lines else 4) // 4, len(self.sparse))
        distances, indices = self._search.nearest(self.grid.centres(self.device), count)
        points = Points(
            x=places[:, 0].contiguous(),
            y=places[:, 1].contiguous(),
            guide=self.guide[:, v // self.grid.stride, u // self.grid.stride],
            value=self.space.from_depth(self.depth_m),
            model=self.map[v, u],
        )
        return points, indices, distances[min(self.options.local.rank, count - 1)].clamp_min(1.0), distances[0]

    def _step_along_lines(self, places: Tensor) -> float | None:
        """Pixels from a point of a scan line to the next; None if the points are not a scanner's.

        They are if they are in line with the four nearest to them, or much closer to the nearest than scattered ones are.
        """
        if len(places) < 50:
            return None
        some = places[:: max(1, len(places) // 300)]
        distances, nearest = self._search.nearest(some, 5)
        apart = places[nearest] - some
        x, y = apart[..., 0], apart[..., 1]
        xx, yy, xy = (x * x).sum(0), (y * y).sum(0), (x * y).sum(0)
        root = torch.hypot(xx - yy, 2 * xy)  # of the eigenvalues of the scatter
        in_line = bool(((xx + yy - root) / (xx + yy + root)).median() < _IN_LINE)
        step = float(distances[1].median())
        scattered = 0.5 * self.spacing_px
        return step if in_line or (scattered > 1.5 and step < 0.7 * scattered) else None

    @property
    def in_lines(self) -> bool:
        """Whether the points are a scanner's."""
        return self.line_step is not None

    def _caution(self, spacing: float) -> float:
        """How much harder pixels between scan lines are than the points on the lines, from which the uncertainty is learnt."""
        return 0.0 if self.line_step is None else min(spacing / (_APART * self.line_step), 1.0)

    def _tolerance(self, values: Tensor) -> Tensor:
        """What the relative tolerance is at these values, in their unit."""
        if self.in_lines:
            return self._differences(self.options.line_tolerance, values)
        return self._differences(self.options.tolerance * min(1.0, self.spacing_px / _DENSE), values)

    def _differences(self, relative: float, values: Tensor) -> Tensor:
        """Differences of the values that are this relative difference of depth."""
        return relative * self.space.to_depth(values) / self.space.depth_slope(values)

    def _leave_out(
        self, points: Points, neighbours: Tensor, bandwidth: Tensor, nearest: Tensor, spacing: float
    ) -> tuple[float, Calibration | None]:
        """The model's share that foretells left-out points best, and the calibration of the uncertainty."""
        if len(self.sparse) < 5:
            return 1.0, None
        rng = np.random.default_rng(self.options.seed)
        count = self.options.left_out // (3 if self.in_lines else 1)
        chosen = torch.as_tensor(rng.permutation(len(self.sparse))[:count], device=self.device)
        tiles = self.tiles[chosen]
        x, y = points.x[chosen], points.y[chosen]
        around = neighbours[:, tiles]
        if self.in_lines:
            nearby = min(4 * len(neighbours), len(self.sparse))
            around = self._search.nearest(torch.stack([x, y], 1), nearby)[1]
        left_out = around == chosen
        if self.in_lines:
            guard = nearest[torch.as_tensor(rng.integers(0, len(nearest), len(chosen)), device=self.device)]
            left_out |= _guarded(points.x[around] - x, points.y[around] - y, guard, len(neighbours))
            left_out |= (~left_out).cumsum(0) > len(neighbours)
        model, truth = points.model[chosen], points.value[chosen]
        tolerance = self._tolerance(truth)

        def estimated(some: slice, shares: Tensor) -> Estimate:
            """(shares, points) for some of the left-out points."""
            size = (len(shares), len(chosen[some]))
            at = Pixels(
                x[some].expand(size),
                y[some].expand(size),
                points.guide[:, chosen[some]][:, None],
                model[some].expand(size),
                shares[:, None].expand(size),
            )
            return regress(
                at,
                points,
                around[:, some],
                bandwidth[tiles[some]],
                tolerance[some],
                self.options.local,
                left_out[:, some],
            )

        shares = torch.linspace(0, 1, 5, device=self.device)
        some = slice(None, -(-count // 3))
        error = (estimated(some, shares).value - truth[some]).abs()
        best = shares[(error / tolerance[some]).clamp_max_(1.0).mean(1).argmin()]
        estimate = Estimate(*(part[0] for part in estimated(slice(None), best[None])))
        return float(best), calibrate(estimate, model, truth, spacing, self._caution(spacing))

    # -- the result ----------------------------------------------------------------------------------------------

    def _pixels(self, share: Tensor) -> Pixels:
        model = self.grid.tiled(self.grid.coarse(self.map))
        return Pixels(
            *self.grid.places(self.device), self.grid.tiled(self.guide), model, share.float().expand_as(model)
        )

    def _in_reach(self, estimate: Estimate, neighbours: Tensor, spacing: float) -> Tensor:
        """(T, C) values not far beyond the depth of the neighbouring points: a share of the model can reach there, and in
        disparity a small step too far is a long way. Among very few points the model decides."""
        if len(self.sparse) < _MODEL_DECIDES:
            return estimate.value
        nearest_m, farthest_m = (bound(self.depth_m[neighbours], 0) for bound in (torch.amin, torch.amax))
        close, farther = _BEYOND_LINES if self.in_lines else _BEYOND
        beyond = (1.0 + close + farther * estimate.distance / spacing).clamp_(max=_RANGE_FACTOR)
        bounds = self.space.from_depth(nearest_m / beyond), self.space.from_depth(farthest_m * beyond)
        return estimate.value.clamp(*(reversed(bounds) if self.space.near_is_high else bounds))

    def _sigma(self, estimate: Estimate, model: Tensor, calibration: Calibration | None) -> Tensor:
        if calibration is not None:
            return calibration.sigma(estimate, model)
        possible = self.space.from_depth(within(self.space.to_depth(estimate.value), self.sparse))
        return self._differences(prior_sigma(len(self.sparse)), possible)

    def _finish(self, estimate: Estimate, sigma: Tensor, model: Tensor, points: Points) -> tuple[Tensor, Tensor]:
        """Full resolution, through the points, metres."""
        if self.grid.stride == 1:
            fused = self.grid.full(estimate.value).clone()
        else:
            fused = torch.addcmul(
                self.grid.full(estimate.value - estimate.share * model), self.grid.full(estimate.share), self.map
            )
        v, u = points.y.long(), points.x.long()
        fused[v, u] = points.value
        depth = within(self.space.to_depth(fused), self.sparse)
        rough = within(self.space.to_depth(estimate.value), self.sparse)
        relative = sigma * self.space.depth_slope(self.space.from_depth(rough)) / rough
        return depth, self.grid.full(relative) * depth
