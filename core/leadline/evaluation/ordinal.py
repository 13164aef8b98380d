"""Ordinal depth: which of two points is nearer (DA-2K)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.evaluation.datasets.base import OrderedPair
from leadline.evaluation.metrics import Scores
from leadline.types import Floats


def towards_camera(prediction: DepthPrediction) -> Floats:
    """(H, W), larger is nearer, in the unit of the prediction's space."""
    return prediction.values if prediction.space.near_is_high else -prediction.values


def pair_accuracy(prediction: DepthPrediction, pairs: Sequence[OrderedPair]) -> Scores:
    """Share of pairs whose first point is predicted strictly nearer than the second; in [0, 1].

    A tie counts as wrong. ``None`` without pairs. DA-2K's accuracy is the mean over all pairs of the set, not over
    images: weight images by their number of pairs (the runner does).
    """
    if not pairs:
        return {"pair_accuracy": None}
    near = towards_camera(prediction)
    row1, column1, row2, column2 = np.asarray(pairs).T
    return {"pair_accuracy": float(np.mean(near[row1, column1] > near[row2, column2]))}
