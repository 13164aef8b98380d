"""One prediction against one sample under one protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import Alignment, align
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError, NotMetricError
from leadline.evaluation.blocks import row_blocks
from leadline.evaluation.boundaries import boundary_f1, boundary_recall, edge_precision_recall
from leadline.evaluation.datasets.base import Sample
from leadline.evaluation.metrics import Scores, depth_metrics
from leadline.evaluation.ordinal import pair_accuracy, towards_camera
from leadline.evaluation.protocols import Protocol, Rules, crop_mask
from leadline.evaluation.uncertainty import uncertainty_metrics
from leadline.types import BoolMap

#: A matte comes without depth, so scale and shift are assumed: the map's 2–98 percentile range spans this many metres.
ASSUMED_RANGE_M = (1.0, 10.0)

NO_GROUND_TRUTH = "no valid ground truth in the scored region"


@dataclass(frozen=True)
class Scored:
    """Scores of one image.

    Attributes:
        scores: Metric name → value; empty if the image cannot be scored.
        fit: The alignment used; ``None`` where none was (mattes, point pairs, metric predictions).
        depth_m: float64 (H, W), the aligned map; ``None`` without depth ground truth.
        valid: bool (H, W), what was scored.
        reason: Why there are no scores, or "".
    """

    scores: Scores
    fit: Alignment | None = None
    depth_m: npt.NDArray[np.float64] | None = None
    valid: BoolMap | None = None
    reason: str = ""


def score(sample: Sample, prediction: DepthPrediction, protocol: Protocol, rules: Rules) -> Scored:
    """Score whatever the sample knows: depth, a matte, ordered pairs.

    Raises:
        NotMetricError: The protocol takes metres and the prediction is relative.
        InputError: Prediction and sample differ in size.
    """
    if prediction.shape != sample.image.shape[:2]:
        raise InputError(f"the prediction is {prediction.shape}, the image {sample.image.shape[:2]} (height, width)")
    result = Scored({})
    if sample.depth_m is not None:
        result = _score_depth(sample, sample.depth_m, prediction, protocol, rules)
    if sample.matte is not None:
        result.scores.update(boundary_recall(_assumed_depth(prediction), sample.matte))
    if sample.pairs:
        result.scores.update(pair_accuracy(prediction, sample.pairs))
    if sample.depth_m is None and sample.matte is None and not sample.pairs:
        return Scored({}, reason="the sample has no ground truth of any kind")
    return result


def scored_region(sample: Sample, rules: Rules) -> BoolMap:
    """Bool (H, W): measured, inside the data set's mask, range and crop."""
    if sample.depth_m is None:
        raise InputError(f"{sample.name} has no depth")
    depth_m = sample.depth_m
    region = np.isfinite(depth_m) & (depth_m > 0)
    if sample.valid is None or not rules.mask_alone:
        region &= (depth_m > rules.min_depth_m) & (depth_m < rules.max_depth_m)
    if sample.valid is not None:
        region &= sample.valid
    if rules.crop != "none":
        region &= crop_mask(rules.crop, *depth_m.shape)
    return region


def fit_columns(width: int, height: int, longest_px: int | None) -> npt.NDArray[np.intp] | None:
    """The columns of the fit on large pictures: every k-th, for a longer side of ``longest_px``; ``None`` is all of them.

    Marigold's code means to shrink the map to that size and, of a map without channels, shrinks the width alone, by
    torch's nearest neighbour. Its published numbers were made so.
    """
    share = 1.0 if longest_px is None else longest_px / max(width, height)
    if share >= 1.0:
        return None
    return np.floor(np.arange(int(np.floor(width * share))) / share).astype(np.intp)


def _score_depth(
    sample: Sample, depth_m: npt.NDArray[np.float32], prediction: DepthPrediction, protocol: Protocol, rules: Rules
) -> Scored:
    valid = scored_region(sample, rules)
    if not valid.any():
        return Scored({}, valid=valid, reason=NO_GROUND_TRUTH)
    cap = min(rules.max_depth_m, protocol.max_fitted_depth_m)
    fit = None
    if protocol.aligned:
        space = protocol.space or prediction.space
        height, width = depth_m.shape
        columns = fit_columns(width, height, rules.fit_max_side if protocol.downscale_fit else None)
        fitted_on = valid & (prediction.values > 0) if protocol.fits_positive else valid
        fit = align(prediction.values, depth_m, space, fitted_on, protocol.robust, columns)
        predicted = np.empty(depth_m.shape)
        for rows in row_blocks(height, width):
            predicted[rows] = fit.apply(prediction.values[rows], rules.min_depth_m, cap)
        sigma = None
        if prediction.uncertainty is not None:
            sigma = replace(prediction, space=space, metric=False).aligned(fit.scale, fit.shift).uncertainty
    else:
        if not prediction.metric:
            raise NotMetricError(
                f"protocol '{protocol.name}' takes metres, {prediction.model or 'this model'} is relative; use 'own'"
            )
        predicted = np.clip(prediction.values.astype(np.float64), rules.min_depth_m, cap)
        sigma = prediction.uncertainty
    scores = depth_metrics(predicted, depth_m, valid, rules.min_depth_m)
    scores.update(boundary_f1(predicted, depth_m, valid, protocol.holes))
    scores.update(edge_precision_recall(predicted, depth_m, valid))
    if sigma is not None:
        scores.update(uncertainty_metrics(predicted, sigma, depth_m, valid))
    return Scored(scores, fit, predicted, valid)


def _assumed_depth(prediction: DepthPrediction) -> npt.NDArray[np.float64]:
    """Depth for boundary ratios without ground truth: metres as they are, relative maps at :data:`ASSUMED_RANGE_M`."""
    if prediction.metric:
        return prediction.values.astype(np.float64)
    near = towards_camera(prediction).astype(np.float64)
    far_value, near_value = np.percentile(near, [2.0, 98.0])
    if near_value <= far_value:
        return np.full(near.shape, ASSUMED_RANGE_M[0])
    share = (near - far_value) / (near_value - far_value)
    ends = prediction.space.from_depth(np.array(ASSUMED_RANGE_M[::-1]))
    depth: npt.NDArray[np.float64] = prediction.space.to_depth(ends[0] + share * (ends[1] - ends[0]))
    return depth
