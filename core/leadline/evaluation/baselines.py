"""Predictors without a network: the floor that every model must beat, under the same protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.files.image import read_image

CONSTANT, ROW = "constant", "row"


class Baseline:
    """Answers like a :class:`~leadline.inference.estimator.DepthEstimator` without looking at the picture.

    ``constant`` says the same everywhere; ``row`` says that log depth falls linearly from the top row to the bottom.
    """

    family = "baseline"
    space = Space.LOG_DEPTH
    weights_hash = ""
    default_steps = 1
    default_size = 0
    stochastic = False

    def __init__(self, name: str) -> None:
        if name not in (CONSTANT, ROW):
            raise ValueError(f"baseline {name!r}")
        self.name = name

    def predict(self, image: Any, **options: Any) -> Any:
        """One prediction, or a list of them for a list."""
        if isinstance(image, list | tuple):
            return [self.predict(one, **options) for one in image]
        height, width = read_image(image).shape[:2]
        rows = np.linspace(0.5, -0.5, height) if self.name == ROW else np.zeros(height)
        values = np.repeat(rows[:, None], width, axis=1).astype(np.float32)
        return DepthPrediction(values, self.space, model=self.name)
