"""Is the stated uncertainty worth anything: error ratio, sparsification, calibration."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import valid_pixels
from leadline.evaluation.metrics import Scores
from leadline.types import BoolMap, Floats

#: Confidence levels of the calibration curve.
LEVELS = np.linspace(0.05, 0.95, 19)
SPARSIFICATION_STEPS = 100

UNCERTAINTY_METRICS = ("error_ratio", "ause", "calibration_error", "coverage_1s", "coverage_2s")

Curve = npt.NDArray[np.float64]


def error_ratio(errors: Floats, sigma: Floats, quantile: float = 0.5) -> float | None:
    """Mean error where σ is above its ``quantile``, over mean error where it is not.

    DepthFM reports 3.21 on Middlebury-2014 without stating its threshold; the median is ours. ``None`` if σ is
    constant (nothing is above) or if the low part has no error at all.
    """
    if errors.size == 0:
        return None
    high = sigma > np.quantile(sigma, quantile)
    if not high.any():
        return None
    low_error = float(np.mean(errors[~high], dtype=np.float64))
    return float(np.mean(errors[high], dtype=np.float64)) / low_error if low_error > 0 else None


def sparsification(errors: Floats, ranking: Floats, steps: int = SPARSIFICATION_STEPS) -> Curve:
    """Mean error of what remains after removing the k/steps pixels of highest ``ranking``, k = 0 … steps-1.

    Divided by the mean error of all pixels, so that the curve starts at 1. Float64 (steps,); zeros if nothing is wrong.
    """
    ordered = errors.astype(np.float64)[np.argsort(-ranking, kind="stable")]
    remaining = ordered.size - (np.arange(steps) * ordered.size) // steps
    tail_sums = np.cumsum(ordered[::-1])
    curve = tail_sums[remaining - 1] / remaining
    return curve / curve[0] if curve[0] > 0 else np.zeros(steps)


def ause(errors: Floats, sigma: Floats) -> float | None:
    """Area under the sparsification error (Ilg et al., ECCV 2018): removal by σ against removal by the true error.

    0 is a perfect ranking. ``None`` without pixels.
    """
    if errors.size == 0:
        return None
    gap = sparsification(errors, sigma) - sparsification(errors, errors)
    return float(np.sum((gap[1:] + gap[:-1]) / 2.0) / gap.size)


def calibration_curve(errors: Floats, sigma: Floats, levels: Curve = LEVELS) -> Curve:
    """Share of errors inside the central interval of each confidence level, if σ is Gaussian. Float64 (len(levels),).

    A calibrated σ gives ``levels`` back. Errors are absolute and in the unit of σ; a σ of 0 covers only an error of 0.
    """
    widths = np.array([NormalDist().inv_cdf(0.5 + level / 2.0) for level in levels])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(errors > 0, errors / sigma, 0.0)
    return np.searchsorted(np.sort(z), widths, side="right") / max(z.size, 1)


def uncertainty_metrics(
    predicted_m: Floats, sigma_m: Floats, measured_m: Floats, valid: BoolMap | None = None
) -> Scores:
    """All of :data:`UNCERTAINTY_METRICS` of one image.

    Args:
        predicted_m: (H, W) metres.
        sigma_m: (H, W) one standard deviation in metres.
        measured_m: (H, W) metres; 0, NaN and infinity mean "not measured".
        valid: bool (H, W).

    AUSE ranks by relative σ against relative error, so that far pixels do not decide alone; the others are in metres.
    """
    mask = valid_pixels(predicted_m, measured_m, valid) & np.isfinite(sigma_m)
    if not mask.any():
        return dict.fromkeys(UNCERTAINTY_METRICS)
    p, s, g = (a[mask].astype(np.float64) for a in (predicted_m, sigma_m, measured_m))
    errors = np.abs(p - g)
    return {
        "error_ratio": error_ratio(errors, s),
        "ause": ause(errors / g, s / np.maximum(p, 1e-6)),
        "calibration_error": float(np.mean(np.abs(calibration_curve(errors, s) - LEVELS))),
        "coverage_1s": float(np.mean(errors <= s)),
        "coverage_2s": float(np.mean(errors <= 2.0 * s)),
    }
