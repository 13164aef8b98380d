"""How good a model is: aligned in its own space, on RGB-D samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from leadline.checkpoints.native import load_model
from leadline.depth.alignment import align
from leadline.evaluation.boundaries import boundary_f1
from leadline.evaluation.metrics import depth_metrics, mean_scores
from leadline.evaluation.uncertainty import error_ratio
from leadline.inference.estimator import DepthEstimator
from leadline.training.datasets import RenderedShards, RgbdDataset

METRICS = ("abs_rel", "delta1", "boundary_f1")


def score(
    estimator: DepthEstimator,
    dataset: RgbdDataset,
    count: int | None = None,
    steps: int | None = None,
    ensemble: int = 1,
    size: int | None = None,
) -> dict[str, float]:
    """Means over the first ``count`` samples: AbsRel, δ1 and boundary F1, each fitted by least squares.

    With an ensemble also ``uncertainty_ratio``: mean L1 error, in the model's space, of the quarter of the pixels with
    the largest uncertainty, over that of the rest, and ``uncertainty_ratio_m``: the same with both carried into metres.
    """
    rows = []
    for index in range(min(count or len(dataset), len(dataset))):
        sample = dataset[index]
        prediction = estimator.predict(sample.rgb, steps=steps, ensemble=ensemble, size=size, seed=index)
        measured = np.where(sample.valid, sample.depth_m, 0.0)
        fit = align(prediction.values, measured, prediction.space)
        depth_m = fit.apply(prediction.values)
        row = {**depth_metrics(depth_m, measured), **boundary_f1(depth_m, measured)}
        kept: dict[str, float | None] = {name: row[name] for name in METRICS}
        if prediction.uncertainty is not None:
            space, seen, true_m = prediction.space, depth_m[sample.valid], sample.depth_m[sample.valid]
            fitted = fit.scale * prediction.values[sample.valid] + fit.shift
            sigma = abs(fit.scale) * prediction.uncertainty[sample.valid]
            sigma_m = sigma * space.depth_slope(space.from_depth(seen))
            kept["uncertainty_ratio"] = error_ratio(np.abs(fitted - space.from_depth(true_m)), sigma, quantile=0.75)
            kept["uncertainty_ratio_m"] = error_ratio(np.abs(seen - true_m), sigma_m, quantile=0.75)
        rows.append(kept)
    return mean_scores(rows)[0]


def score_files(
    paths: Iterable[Path],
    held_out: Path,
    count: int | None = None,
    steps: Sequence[int] = (1,),
    size: int | None = None,
) -> str:
    """A Markdown table of model files on held-out rendered scenes."""
    data = RenderedShards(held_out, count)
    lines = ["| model | steps | AbsRel | δ1 | boundary F1 |", "|---|---|---|---|---|"]
    for path in paths:
        estimator = DepthEstimator(load_model(path))
        for n in steps:
            if n > 1 and not estimator.stochastic:
                continue
            s = score(estimator, data, steps=n, size=size)
            lines.append(
                f"| {path.parent.name} | {n} | {s['abs_rel']:.4f} | {100 * s['delta1']:.2f} % | {s['boundary_f1']:.4f} |"
            )
    return "\n".join(lines)
