"""The metrics for whole batches on any device; agrees with the NumPy references beside it.

For training loops and large data sets: nothing leaves the device until the caller asks. Where the NumPy functions say
``None``, these say NaN: select by ``torch.isfinite`` before taking means. Maps are (B, H, W) throughout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from leadline.depth.spaces import MIN_DEPTH_M, Space
from leadline.errors import InputError
from leadline.evaluation.boundaries import RATIO_THRESHOLDS, SOBEL_THRESHOLDS
from leadline.evaluation.metrics import DEPTH_METRICS
from leadline.evaluation.uncertainty import LEVELS, SPARSIFICATION_STEPS

_MIN_DEPTH = 1e-6


def _mask(predicted: Tensor, measured: Tensor, valid: Tensor | None) -> Tensor:
    if predicted.shape != measured.shape or predicted.ndim != 3:
        raise InputError(
            f"want two (B, H, W) maps of one size, not {tuple(predicted.shape)} and {tuple(measured.shape)}"
        )
    mask = torch.isfinite(measured) & (measured > 0) & torch.isfinite(predicted)
    return mask if valid is None else mask & valid


def _precise(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64


def depth_metrics_batch(predicted_m: Tensor, measured_m: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    """Depth metrics per image of a batch.

    Args:
        predicted_m: (B, H, W) metres.
        measured_m: (B, H, W) metres; 0, NaN and infinity mean "not measured".
        valid: bool (B, H, W).

    Returns:
        Metric name → float64 (B,) (float32 on devices without float64), and ``"pixels"`` → int64 (B,).
        Images without a valid pixel hold NaN in every metric and 0 in ``pixels``: select by ``pixels > 0``
        before taking means.
    """
    mask = _mask(predicted_m, measured_m, valid)
    dtype = _precise(predicted_m)
    one = torch.ones((), dtype=dtype, device=predicted_m.device)
    p = torch.where(mask, predicted_m.to(dtype), one).clamp(min=MIN_DEPTH_M)
    g = torch.where(mask, measured_m.to(dtype), one)
    pixels = mask.sum((1, 2))

    def mean(values: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0 * one).sum((1, 2)) / pixels

    diff, inverse, logs = p - g, 1.0 / p - 1.0 / g, p.log() - g.log()
    ratio = torch.maximum(p / g, g / p)
    # Two passes: E[d²] - E[d]² loses all its digits when the logs are nearly constant.
    centred = logs - torch.where(pixels > 0, mean(logs), 0.0 * one)[:, None, None]
    values = {
        "abs_rel": mean(diff.abs() / g),
        "sq_rel": mean(diff**2 / g),
        "rmse": mean(diff**2).sqrt(),
        "rmse_log": mean(logs**2).sqrt(),
        "log10": mean(logs.abs()) / math.log(10.0),
        "delta1": mean((ratio < 1.25).to(dtype)),
        "delta2": mean((ratio < 1.25**2).to(dtype)),
        "delta3": mean((ratio < 1.25**3).to(dtype)),
        "silog": 100.0 * mean(centred**2).sqrt(),
        "mae": mean(diff.abs()),
        "irmse": 1000.0 * mean(inverse**2).sqrt(),
        "imae": 1000.0 * mean(inverse.abs()),
    }
    return {**{name: values[name] for name in DEPTH_METRICS}, "pixels": pixels}


def align_batch(values: Tensor, measured_m: Tensor, space: Space, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Least-squares scale and shift of every image in ``space``, each (B,); as :func:`leadline.depth.alignment.align`.

    A constant map gets scale 0 and the mean; an image without valid pixels scale 0 and shift 0.
    """
    mask = _mask(values, measured_m, valid)
    dtype = _precise(values)
    zero = torch.zeros((), dtype=dtype, device=values.device)
    x = torch.where(mask, values.to(dtype), zero)
    y = torch.where(mask, space.from_depth(torch.where(mask, measured_m.to(dtype), zero + 1)), zero)
    pixels = mask.sum((1, 2)).clamp(min=1)
    mean_x, mean_y = x.sum((1, 2)) / pixels, y.sum((1, 2)) / pixels
    dx = torch.where(mask, x - mean_x[:, None, None], zero)
    spread = (dx * dx).sum((1, 2))
    floor = pixels * (1e-12 * torch.maximum(mean_x.abs(), dx.abs().amax((1, 2)))) ** 2
    varies = spread > floor
    scale = torch.where(
        varies, (dx * (y - mean_y[:, None, None])).sum((1, 2)) / torch.where(varies, spread, zero + 1), zero
    )
    return scale, mean_y - scale * mean_x


def _shares(hits: Tensor, of: Tensor) -> Tensor:
    """(B,) count of both over count of ``of``, at least 1."""
    return (hits & of).sum((1, 2)).to(_precise(hits)) / of.sum((1, 2)).clamp(min=1)


def boundary_f1_batch(predicted_m: Tensor, measured_m: Tensor, valid: Tensor | None = None) -> Tensor:
    """(B,) scale-invariant boundary F1; as :func:`leadline.evaluation.boundaries.boundary_f1`."""
    mask = _mask(predicted_m, measured_m, valid)
    dtype = _precise(predicted_m)
    one = torch.ones((), dtype=dtype, device=predicted_m.device)

    def ratios(depth: Tensor) -> list[Tensor]:
        near = 1.0 / torch.where(mask, depth.to(dtype).clamp(min=_MIN_DEPTH), one)
        across, down = near[:, :, 1:] / near[:, :, :-1], near[:, 1:] / near[:, :-1]
        return [1.0 / across, 1.0 / down, across, down]

    touching = [mask[:, :, 1:] & mask[:, :, :-1], mask[:, 1:] & mask[:, :-1]] * 2
    ours, truth = ratios(predicted_m), ratios(measured_m)
    total = torch.zeros(len(mask), dtype=dtype, device=mask.device)
    for threshold in RATIO_THRESHOLDS.tolist():
        edges = [((a > threshold) & v, (b > threshold) & v) for a, b, v in zip(ours, truth, touching, strict=True)]
        precision = torch.stack([_shares(b, a) for a, b in edges]).mean(0)
        recall = torch.stack([_shares(a, b) for a, b in edges]).mean(0)
        both = precision + recall
        total += threshold * torch.where(both > 0, 2 * precision * recall / torch.where(both > 0, both, one), 0 * one)
    defined = touching[0].any(2).any(1) | touching[1].any(2).any(1)
    return torch.where(defined, total / float(RATIO_THRESHOLDS.sum()), torch.nan * one)


def edge_precision_recall_batch(
    predicted_m: Tensor, measured_m: Tensor, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """Sobel edge precision and recall, each (B,); as :func:`leadline.evaluation.boundaries.edge_precision_recall`."""
    mask = _mask(predicted_m, measured_m, valid)
    dtype = _precise(predicted_m)
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=dtype, device=mask.device)
    kernels = torch.stack([kernel, kernel.T])[:, None]

    def padded(maps: Tensor) -> Tensor:
        return functional.pad(maps.to(dtype)[:, None], (1, 1, 1, 1), mode="reflect")

    def magnitude(depth: Tensor) -> Tensor:
        known = torch.where(mask, depth.to(dtype), torch.zeros((), dtype=dtype, device=mask.device))
        gx, gy = functional.conv2d(padded(known), kernels).unbind(1)
        return torch.hypot(gx, gy)

    inner = -functional.max_pool2d(-padded(mask), 3, stride=1)[:, 0] > 0.5
    ours, truth = magnitude(predicted_m), magnitude(measured_m)
    precisions, recalls = [], []
    for threshold in SOBEL_THRESHOLDS:
        edge, true_edge = (ours > threshold) & inner, (truth > threshold) & inner
        hits = (edge & true_edge).sum((1, 2)).to(dtype)
        precisions.append(hits / edge.sum((1, 2)))  # 0/0 is NaN: this threshold does not count
        recalls.append(hits / true_edge.sum((1, 2)))
    return {"edge_precision": torch.stack(precisions).nanmean(0), "edge_recall": torch.stack(recalls).nanmean(0)}


def pair_accuracy_batch(nearness: Tensor, pairs: Tensor) -> Tensor:
    """(B,) share of pairs whose first point is nearer.

    Args:
        nearness: (B, H, W), larger is nearer.
        pairs: int64 (B, P, 4): row and column of the nearer point, then of the other.
    """
    image = torch.arange(len(nearness), device=nearness.device)[:, None]
    row1, column1, row2, column2 = pairs.unbind(-1)
    return (nearness[image, row1, column1] > nearness[image, row2, column2]).to(_precise(nearness)).mean(1)


def uncertainty_metrics_batch(
    predicted_m: Tensor, sigma_m: Tensor, measured_m: Tensor, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """Error ratio, AUSE, calibration error and coverage, each (B,); as :func:`leadline.evaluation.uncertainty.uncertainty_metrics`."""
    mask = _mask(predicted_m, measured_m, valid) & torch.isfinite(sigma_m)
    rows = [
        _uncertainty(*(maps[i][mask[i]].to(_precise(predicted_m)) for maps in (predicted_m, sigma_m, measured_m)))
        for i in range(len(mask))
    ]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _uncertainty(p: Tensor, s: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Of one image's valid pixels, each (n,)."""
    nan = torch.full((), torch.nan, dtype=p.dtype, device=p.device)
    if p.numel() == 0:
        return dict.fromkeys(("error_ratio", "ause", "calibration_error", "coverage_1s", "coverage_2s"), nan)
    errors = (p - g).abs()
    ordered = s.sort().values
    position = 0.5 * (s.numel() - 1)  # the median as NumPy has it: torch.quantile refuses more than 16 million values
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    above = s > low + (high - low) * (position - math.floor(position))
    below_error = errors[~above].mean()
    ratio = errors[above].mean() / below_error if bool(above.any()) and bool(below_error > 0) else nan
    relative = errors / g
    gap = _sparsification(relative, s / p.clamp(min=1e-6)) - _sparsification(relative, relative)
    levels = torch.as_tensor(LEVELS, dtype=p.dtype, device=p.device)
    widths = math.sqrt(2.0) * torch.erfinv(levels)
    z = torch.where(errors > 0, errors / s, torch.zeros_like(errors)).sort().values
    inside = torch.searchsorted(z, widths, right=True).to(p.dtype) / z.numel()
    return {
        "error_ratio": ratio,
        "ause": ((gap[1:] + gap[:-1]) / 2).sum() / gap.numel(),
        "calibration_error": (inside - levels).abs().mean(),
        "coverage_1s": (errors <= s).to(p.dtype).mean(),
        "coverage_2s": (errors <= 2 * s).to(p.dtype).mean(),
    }


def _sparsification(errors: Tensor, ranking: Tensor) -> Tensor:
    order = torch.argsort(-ranking, stable=True)
    tails = errors[order].flip(0).cumsum(0)
    steps = torch.arange(SPARSIFICATION_STEPS, device=errors.device)
    remaining = errors.numel() - (steps * errors.numel()) // SPARSIFICATION_STEPS
    curve = tails[remaining - 1] / remaining
    return curve / curve[0] if bool(curve[0] > 0) else torch.zeros_like(curve)
