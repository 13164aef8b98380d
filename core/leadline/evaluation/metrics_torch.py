"""The depth metrics for whole batches on any device; agrees with :mod:`leadline.evaluation.metrics`.

For training loops and large data sets: nothing leaves the device until the caller asks.
"""

from __future__ import annotations

import math

import torch

from leadline.errors import InputError
from leadline.evaluation.metrics import DEPTH_METRICS
from leadline.spaces import MIN_DEPTH_M


def depth_metrics_batch(
    predicted_m: torch.Tensor, measured_m: torch.Tensor, valid: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
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
    if predicted_m.shape != measured_m.shape or predicted_m.ndim != 3:
        raise InputError(f"want two (B, H, W) maps of one size, not {tuple(predicted_m.shape)} and {tuple(measured_m.shape)}")
    mask = torch.isfinite(measured_m) & (measured_m > 0) & torch.isfinite(predicted_m)
    if valid is not None:
        mask = mask & valid
    dtype = torch.float32 if predicted_m.device.type == "mps" else torch.float64
    one = torch.ones((), dtype=dtype, device=predicted_m.device)
    p = torch.where(mask, predicted_m.to(dtype), one).clamp(min=MIN_DEPTH_M)
    g = torch.where(mask, measured_m.to(dtype), one)
    pixels = mask.sum((1, 2))

    def mean(values: torch.Tensor) -> torch.Tensor:
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
