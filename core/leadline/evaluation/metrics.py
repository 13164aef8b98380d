"""Per-image depth metrics: exact definitions, NumPy reference in float64.

With ``p`` predicted depth, ``g`` measured depth (both metres) and ``mean`` over the valid pixels of one image.
A metric that an image cannot define is ``None``, never NaN: it is left out of means, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from leadline.depth.alignment import valid_pixels
from leadline.depth.spaces import MIN_DEPTH_M
from leadline.errors import InputError
from leadline.evaluation.tuned import WORK
from leadline.types import BoolMap, Floats

#: One image's scores; ``None`` where the image does not define the metric.
Scores = dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """What a column of a table means."""

    label: str
    unit: str
    formula: str
    source: str
    higher_is_better: bool = False


_EIGEN = "Eigen et al., NeurIPS 2014"
_KITTI = "Uhrig et al., 3DV 2017 (KITTI depth completion)"

METRICS: dict[str, Metric] = {
    "abs_rel": Metric("AbsRel", "", "mean |p - g| / g", _EIGEN),
    "sq_rel": Metric("SqRel", "m", "mean (p - g)² / g", _EIGEN),
    "rmse": Metric("RMSE", "m", "sqrt mean (p - g)²", _EIGEN),
    "rmse_log": Metric("RMSE-log", "", "sqrt mean (ln p - ln g)²", _EIGEN),
    "log10": Metric("log10", "", "mean |log10 p - log10 g|", "Saxena et al., TPAMI 2009"),
    "delta1": Metric("δ1", "", "share with max(p/g, g/p) < 1.25", _EIGEN, True),
    "delta2": Metric("δ2", "", "share with max(p/g, g/p) < 1.25²", _EIGEN, True),
    "delta3": Metric("δ3", "", "share with max(p/g, g/p) < 1.25³", _EIGEN, True),
    "silog": Metric("SILog", "×100", "100 sqrt(mean d² - (mean d)²), d = ln p - ln g", _EIGEN),
    "mae": Metric("MAE", "m", "mean |p - g|", _KITTI),
    "irmse": Metric("i-RMSE", "1/km", "1000 sqrt mean (1/p - 1/g)²", _KITTI),
    "imae": Metric("i-MAE", "1/km", "1000 mean |1/p - 1/g|", _KITTI),
    "boundary_f1": Metric(
        "F1", "", "scale-invariant boundary F1, thresholds 1.05 to 1.25", "Depth Pro (Bochkovskii et al., 2024)", True
    ),
    "boundary_recall": Metric(
        "R", "", "scale-invariant boundary recall against a matte", "Depth Pro (Bochkovskii et al., 2024)", True
    ),
    "edge_precision": Metric("EP", "", "Sobel edges of p that are edges of g", "Hu et al., WACV 2019", True),
    "edge_recall": Metric("ER", "", "Sobel edges of g that are edges of p", "Hu et al., WACV 2019", True),
    "pair_accuracy": Metric("Acc", "", "point pairs ordered as annotated", "DA-2K (Yang et al., NeurIPS 2024)", True),
    "error_ratio": Metric(
        "err. ratio",
        "×",
        "mean |p - g| where σ is above its median / below it",
        "DepthFM (Gui et al., 2024), §Uncertainty",
    ),
    "ause": Metric("AUSE", "", "area between sparsification by σ and by error, AbsRel", "Ilg et al., ECCV 2018"),
    "calibration_error": Metric(
        "calib.", "", "mean |share inside the p-interval - p|, Gaussian σ", "Kuleshov et al., ICML 2018"
    ),
    "coverage_1s": Metric("in 1σ", "", "share with |p - g| ≤ σ", "Kuleshov et al., ICML 2018"),
    "coverage_2s": Metric("in 2σ", "", "share with |p - g| ≤ 2σ", "Kuleshov et al., ICML 2018"),
}

#: The part of :data:`METRICS` that :func:`depth_metrics` computes.
DEPTH_METRICS = (
    "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "delta1", "delta2", "delta3", "silog", "mae", "irmse", "imae",
)  # fmt: skip


def depth_metrics(
    predicted_m: Floats, measured_m: Floats, valid: BoolMap | None = None, min_depth_m: float = MIN_DEPTH_M
) -> Scores:
    """All of :data:`DEPTH_METRICS` for one image.

    Args:
        predicted_m: Depth in metres, any shape.
        measured_m: Same shape; 0, NaN and infinity mean "not measured".
        valid: Same shape; further restricts what is scored.
        min_depth_m: The prediction is clamped to at least this before logarithms and reciprocals.

    Returns:
        Metric name → value; every value is ``None`` if no pixel is valid.

    >>> depth_metrics(np.array([1.0, 4.0]), np.array([2.0, 4.0]))["abs_rel"]
    0.25
    """
    if predicted_m.shape != measured_m.shape:
        raise InputError(f"prediction {predicted_m.shape} and ground truth {measured_m.shape} differ in size")
    all_p, all_g, all_valid = (
        predicted_m.reshape(-1),
        measured_m.reshape(-1),
        None if valid is None else valid.reshape(-1),
    )
    sums = np.zeros(11)
    pixels, spread, middle = 0, 0.0, 0.0  # of the log ratios: Σ (x - middle)² over the pixels so far
    for start in range(0, all_p.size, WORK.block_pixels):
        block = slice(start, start + WORK.block_pixels)
        predicted, measured = all_p[block], all_g[block]
        mask = valid_pixels(predicted, measured, None if all_valid is None else all_valid[block])
        p, g = np.maximum(predicted[mask].astype(np.float64), min_depth_m), measured[mask].astype(np.float64)
        if not p.size:
            continue
        error, logs = np.abs(p - g), np.log(p) - np.log(g)
        off, inverse, ratio = np.abs(logs), np.abs(1.0 / p - 1.0 / g), np.maximum(p / g, g / p)
        squares = error * error
        sums += [
            (error / g).sum(), (squares / g).sum(), squares.sum(), (logs @ logs), off.sum(), *((ratio < 1.25**k).sum() for k in (1, 2, 3)),
            error.sum(), (inverse @ inverse), inverse.sum(),
        ]  # fmt: skip
        mean, count = float(logs.mean()), pixels + p.size
        spread += float(((logs - mean) ** 2).sum()) + (mean - middle) ** 2 * pixels * p.size / count
        middle += (mean - middle) * p.size / count
        pixels = count
    if not pixels:
        return dict.fromkeys(DEPTH_METRICS)
    abs_rel, sq_rel, square, square_log, off_log, within1, within2, within3, mae, square_inverse, imae = sums / pixels
    values = {
        "abs_rel": abs_rel, "sq_rel": sq_rel, "rmse": np.sqrt(square), "rmse_log": np.sqrt(square_log),
        "log10": off_log / np.log(10.0), "delta1": within1, "delta2": within2, "delta3": within3,
        "silog": 100.0 * np.sqrt(spread / pixels), "mae": mae, "irmse": 1000.0 * np.sqrt(square_inverse), "imae": 1000.0 * imae,
    }  # fmt: skip
    return {name: float(value) for name, value in values.items()}


def mean_scores(rows: Iterable[Mapping[str, float | None]]) -> tuple[dict[str, float], dict[str, int]]:
    """Means over images and how many images each mean rests on; ``None`` entries count in neither.

    >>> mean_scores([{"rmse": 1.0}, {"rmse": None}, {"rmse": 3.0}])
    ({'rmse': 2.0}, {'rmse': 2})
    """
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                totals[name] = totals.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + 1
    return {name: total / counts[name] for name, total in totals.items()}, counts
