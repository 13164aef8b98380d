"""The 2 and 98 % quantiles of a data set's depth, which all of its pictures share in DepthFM's normalisation (eq. 6)."""

from __future__ import annotations

import numpy as np

from leadline.errors import InputError
from leadline.training.datasets import RgbdDataset

#: Measured pixels that each picture gives.
PIXELS = 2000


def depth_range_of(dataset: RgbdDataset, count: int, low: float = 0.02, high: float = 0.98) -> tuple[float, float]:
    """Depths in metres at the quantiles ``low`` and ``high`` of ``count`` pictures, evenly spread over the set.

    Every picture gives as many pixels, drawn at random but always the same. The logarithm of a quantile is the logarithm's quantile.

    Raises:
        InputError: None of the pictures has any depth.
    """
    rng, drawn = np.random.default_rng(0), []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)):
        sample = dataset[int(index)]
        depths = sample.depth_m[sample.valid]
        if depths.size:
            drawn.append(rng.choice(depths, PIXELS))
    if not drawn:
        raise InputError("no picture has any depth; quantiles need some")
    near, far = np.quantile(np.concatenate(drawn).astype(np.float64), [low, high])
    return float(near), float(far)
