"""A map with scale and shift, and the points around every pixel → dense metric depth, its uncertainty, and what stands behind it.

The parts: :mod:`~leadline.completion.setting` lays the points on a grid, :mod:`~leadline.completion.outliers` drops wrong
ones, :mod:`~leadline.completion.local` estimates every pixel from the points around it, :mod:`~leadline.completion.left_out`
says how far to believe the model and how wrong the result is, :mod:`~leadline.completion.sky` finds what nothing can measure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.blocks import beside, by_blocks
from leadline.completion.edges import edges
from leadline.completion.fit import Fit
from leadline.completion.left_out import Lesson, clues_of, learn, towards_model
from leadline.completion.local import Estimate, regress
from leadline.completion.neighbours import on_processor
from leadline.completion.options import FusionOptions
from leadline.completion.outliers import Judge, keep
from leadline.completion.setting import Setting, within
from leadline.completion.sky import outdoors, sky_mask
from leadline.completion.support import trust
from leadline.completion.tuned import BLOCKS, RANGE, UNCERTAINTY
from leadline.depth.prediction import Validity
from leadline.depth.spaces import Space
from leadline.sensors.sparse import SparseDepth

Rgb = npt.NDArray[np.uint8]
BoolMap = npt.NDArray[np.bool_]


class Completed(NamedTuple):
    """(H, W) each: depth and sigma, float32 metres; uint8 :class:`~leadline.depth.prediction.Validity`."""

    depth_m: Tensor
    sigma_m: Tensor
    validity: Tensor


def fuse(
    rgb: Rgb,
    values: Tensor,
    spread: Tensor | None,
    sparse: SparseDepth,
    fit: Fit,
    space: Space,
    options: FusionOptions | None = None,
    report: dict[str, Any] | None = None,
) -> Completed:
    """What :func:`leadline.completion.complete` does once scale and shift are fitted, on the device of ``values``.

    Maps stay on that device; only numbers about the points leave it (and one small map, where there may be sky).

    Args:
        rgb: uint8 (H, W, 3).
        values: float32 (H, W), the model's map in ``space``.
        spread: float32 (H, W), standard deviation of its ensemble, or None.
        sparse: One point or more.
        fit: Scale and shift.
        space: Of ``values``.
        options: Constants.
        report: Gets what was used.
    """
    options, report = options or FusionOptions(), {} if report is None else report
    setting = Setting.of(rgb, values, sparse, fit, space, options)
    kept = believed(setting).cpu().numpy()
    report["untrusted_points"] = int(np.count_nonzero(~kept))
    if kept.any() and not kept.all():
        setting = setting.without_wrong(rgb, values, kept)
    nearness = values if space.near_is_high else -values
    early = outdoors(setting.sparse, 0.0, options.sky) and on_processor(values)
    sky = beside(lambda: _sky(rgb, nearness, setting.sparse, 0.0, options)) if early else None
    share, lesson = learn(setting)
    beyond = setting.beyond_range()
    estimate, model = _estimate(setting, share, beyond)
    sigma, learnt = _sigma(setting, values, spread, estimate, model, lesson, beyond)
    report.update(
        model_share=share,
        uncertainty="left-out points" if learnt else "prior",
        working_stride=setting.grid.stride,
    )
    depth, sigma_m, cut = _full(setting, estimate, sigma)
    validity = _evidence(setting, cut, beyond)
    return without_evidence(rgb, values, depth, sigma_m, validity, setting.sparse, space, options, report, sky)


def scaled(
    rgb: Rgb,
    values: Tensor,
    spread: Tensor | None,
    sparse: SparseDepth,
    fit: Fit,
    space: Space,
    options: FusionOptions,
    report: dict[str, Any],
) -> Completed:
    """Scale and shift alone; arguments as for :func:`fuse`, but there may be no point."""
    raw = space.to_depth(values * fit.scale + fit.shift)
    depth = within(raw.clone(), sparse, options.range_factor)
    slope = space.depth_slope(space.from_depth(depth))
    relative = of_the_fit(fit, lambda: values, depth, slope, len(sparse), options)
    if spread is not None:
        relative = torch.hypot(relative, fit.scale * spread * slope / depth)
    validity = torch.full(depth.shape, int(Validity.MODEL_ONLY), dtype=torch.uint8, device=depth.device)
    validity[depth != raw] = int(Validity.OUT_OF_RANGE)
    return without_evidence(rgb, values, depth, relative * depth, validity, sparse, space, options, report)


def of_the_fit(
    fit: Fit, values: Callable[[], Tensor], depth: Tensor, slope: Tensor, points: int, options: FusionOptions
) -> Tensor:
    """Sigma over depth of a map (any shape) under scale and shift alone, its values, depth and slope given."""
    if fit.prior is not None:
        knots = torch.as_tensor(fit.prior.relative.astype(np.float32), device=depth.device)
        place = ((values() - fit.prior.first) / fit.prior.step).clamp(0.0, len(knots) - 1.001)
        left = place.long()
        return torch.lerp(knots[left], knots[left + 1], place - left)
    measured = fit.sigma * slope / depth
    if points >= 3 or fit.kind == "carried over":
        return measured
    return torch.hypot(measured, torch.full_like(measured, options.held_sigma))


def believed(setting: Setting) -> Tensor:
    """bool (n,): points that the others do not contradict."""
    options, points = setting.options, setting.points
    judge = Judge.FEW if len(setting.sparse) < options.few else Judge.MANY
    kept, off = keep(points, setting.neighbours, setting.tiles, setting.depth_m, setting.model_m(), judge)
    if judge is Judge.MANY or bool(kept.all()):
        return kept
    unit = setting.differences(options.rules_tolerance, points.value)
    trusted = trust(points, setting.neighbours, setting.tiles, unit, options.local.colour, start=kept.to(unit.dtype))
    return kept & ~((trusted < 0.5) & (off.abs() < options.slight))


def _estimate(setting: Setting, share: float, beyond: Tensor) -> tuple[Estimate, Tensor]:
    """(T, C): the estimate of the grid's pixels, and the fitted model there."""
    drawn = 1.0 - (1.0 - share) * setting.within_reach(setting.nearest)
    pixels = setting.pixels(drawn)
    tolerance = setting.tolerance(pixels.model)
    bandwidth = setting.bandwidth
    estimate = regress(pixels, setting.points, setting.neighbours, bandwidth, tolerance, setting.options.local)
    estimate = towards_model(estimate, pixels.model, setting.dense_enough(bandwidth))
    estimate = estimate._replace(value=_bounded(setting, estimate))
    return towards_model(estimate, pixels.model, 1.0 - beyond), pixels.model


def _bounded(setting: Setting, estimate: Estimate) -> Tensor:
    """(T, C) values not far beyond the depth of the neighbouring points, but among very few points, where the model decides."""
    options, space = setting.options, setting.space
    if len(setting.sparse) < options.model_decides:
        return estimate.value
    around = setting.depth_m[setting.neighbours]
    nearest_m, farthest_m = around.amin(0), around.amax(0)
    close, farther = options.beyond_lines if setting.in_lines else options.beyond
    beyond = (1.0 + close + farther * estimate.distance / setting.spacing).clamp_(max=options.range_factor)
    bounds = space.from_depth(nearest_m / beyond), space.from_depth(farthest_m * beyond)
    return estimate.value.clamp(*(reversed(bounds) if space.near_is_high else bounds))


def _sigma(
    setting: Setting,
    values: Tensor,
    spread: Tensor | None,
    estimate: Estimate,
    model: Tensor,
    lesson: Lesson | None,
    beyond: Tensor,
) -> tuple[Tensor, bool]:
    """(T, C) one standard deviation in the unit of the estimate; whether left-out points told it."""
    space, grid, fit = setting.space, setting.grid, setting.fit
    depth = setting.within(space.to_depth(estimate.value))
    possible = space.from_depth(depth)
    slope = space.depth_slope(possible)
    alone = (
        depth
        / slope
        * of_the_fit(fit, lambda: grid.tiled(grid.coarse(values)), depth, slope, len(setting.sparse), setting.options)
    )
    edge = grid.tiled(edges(grid.whole(possible)))
    calibration = None if lesson is None else lesson.calibration()
    if calibration is None:
        unsure = torch.minimum(setting.options.edge * edge, setting.options.most_edge * depth / slope)
        sigma = torch.hypot(alone, unsure)
    else:
        clues = clues_of(setting, estimate, model, edge, setting.neighbours)
        sigma = calibration.sigma(clues) * depth / slope
        # Where no point reaches, the map is hardly better than scale and shift alone were at the points.
        out_of_reach = 1.0 - setting.within_reach(setting.nearest)
        sigma = torch.maximum(sigma, UNCERTAINTY.alone * alone * out_of_reach)
    sigma = torch.hypot(sigma, RANGE.sigma * beyond * depth / slope)
    if spread is not None:
        members = grid.tiled(grid.coarse(spread)) * fit.scale * estimate.share
        sigma = torch.where(estimate.distance > 3 * setting.spacing, torch.hypot(sigma, members), sigma)
    return sigma, calibration is not None


def _full(setting: Setting, estimate: Estimate, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Full resolution, through the points: depth and sigma, metres, and where depth was cut to the points' range, bool."""
    grid, space, points = setting.grid, setting.space, setting.points
    rough = setting.within(space.to_depth(estimate.value))
    relative = grid.full(sigma * space.depth_slope(space.from_depth(rough)) / rough)
    if grid.stride == 1:
        fused = grid.full(estimate.value).clone()
    else:
        own, share = grid.full(estimate.value - estimate.share * setting.model), grid.full(estimate.share)
        fused = torch.empty_like(setting.map)
    depth, sigma_m, cut = torch.empty_like(fused), torch.empty_like(fused), torch.empty_like(fused, dtype=torch.bool)
    v, u = points.y.long(), points.x.long()
    through = setting.dense_enough(setting.bandwidth)[setting.tiles] if len(setting.sparse) > 1 else 1.0
    if points.variance is not None:
        expected = sigma.mean(0)[setting.tiles].square()
        through = through * expected / (expected + points.variance)

    def combined(rows: slice) -> None:
        if grid.stride > 1:
            torch.addcmul(own[rows], share[rows], setting.map[rows], out=fused[rows])

    def metres(rows: slice) -> None:
        raw = space.to_depth(fused[rows])
        depth[rows] = raw
        setting.within(depth[rows])
        torch.ne(depth[rows], raw, out=cut[rows])
        torch.mul(relative[rows], depth[rows], out=sigma_m[rows])

    by_blocks(combined, grid.height, fused.device, BLOCKS.rows, grid.height)
    fused[v, u] += (points.value - fused[v, u]) * through
    by_blocks(metres, grid.height, fused.device, BLOCKS.rows, grid.height)
    return depth, sigma_m, cut


def _evidence(setting: Setting, cut: Tensor, beyond: Tensor) -> Tensor:
    """uint8 (H, W) of Validity, sky not yet told."""
    reached = setting.within_reach(setting.nearest) * setting.dense_enough(setting.bandwidth)
    by_points = reached * (1.0 - beyond) >= 0.5
    validity = setting.grid.spread(
        torch.where(by_points, int(Validity.COMPLETED), int(Validity.MODEL_ONLY)).to(torch.uint8)
    )
    validity.masked_fill_(cut, int(Validity.OUT_OF_RANGE))
    validity[setting.points.y.long(), setting.points.x.long()] = int(Validity.MEASURED)
    return validity


def without_evidence(
    rgb: Rgb,
    values: Tensor,
    depth: Tensor,
    sigma: Tensor,
    validity: Tensor,
    sparse: SparseDepth,
    space: Space,
    options: FusionOptions,
    report: dict[str, Any],
    sky_found: Callable[[], BoolMap] | None = None,
) -> Completed:
    """Say so where nothing vouches for a depth, in ``sigma`` and ``validity``. In the sky it stays what it was, with a sigma as large."""
    if sky_found is None:
        far_end = float(torch.quantile(depth.flatten()[:: max(1, depth.numel() // BLOCKS.far_end)], 0.99))
        sky = _sky(rgb, values if space.near_is_high else -values, sparse, far_end, options)
    else:
        sky = sky_found()
    pixels = int(np.count_nonzero(sky))
    report["sky_share"] = pixels / sky.size
    there = torch.as_tensor(sky, device=depth.device) if pixels else None

    def told(rows: slice) -> None:
        unknown = validity[rows] == int(Validity.OUT_OF_RANGE)
        if bool(unknown.any()):
            least = torch.maximum(sigma[rows], options.unknown_sigma * depth[rows])
            sigma[rows] = torch.where(unknown, least, sigma[rows])
        if there is not None and bool(there[rows].any()):
            sigma[rows] = torch.where(there[rows], options.sky_sigma * depth[rows], sigma[rows])
            validity[rows].masked_fill_(there[rows], int(Validity.SKY))

    by_blocks(told, len(depth), depth.device, BLOCKS.rows, len(depth))
    return Completed(depth, sigma, validity)


def _sky(rgb: Rgb, nearness: Tensor, sparse: SparseDepth, far_end_m: float, options: FusionOptions) -> BoolMap:
    """bool (H, W). Off the processor only a small map leaves its device, and only where there may be sky."""
    if not outdoors(sparse, far_end_m, options.sky):
        return np.zeros(rgb.shape[:2], np.bool_)
    factor = 1 if on_processor(nearness) else max(1, max(nearness.shape) // options.sky.long_side)
    if factor > 1:
        nearness = torch.nn.functional.avg_pool2d(nearness[None, None], factor)[0, 0]
    return sky_mask(rgb, nearness.cpu().numpy(), sparse, far_end_m, options.sky)
