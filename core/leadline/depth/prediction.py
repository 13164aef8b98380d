"""DepthPrediction: what every model, server and node returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.depth.nearness import nearness
from leadline.depth.spaces import Space
from leadline.errors import InputError, NotMetricError
from leadline.types import FloatMap


class Validity(IntEnum):
    """What stands behind a pixel of a metric map, most evidence first.

    ================  ==========================================================================
    value             the pixel
    ================  ==========================================================================
    ``MEASURED``      holds a measured point that was used
    ``COMPLETED``     lies within reach of measured points, which decide its depth
    ``MODEL_ONLY``    lies out of their reach: the model's shape at the fitted scale
    ``SKY``           is endlessly far; ``values`` hold a finite stand-in with a sigma as large as itself
    ``OUT_OF_RANGE``  would lie beyond the depths that the points vouch for and was cut there; its sigma
                      is at least half of its depth
    ================  ==========================================================================
    """

    MEASURED = 0
    COMPLETED = 1
    MODEL_ONLY = 2
    SKY = 3
    OUT_OF_RANGE = 4


@dataclass(frozen=True)
class DepthPrediction:
    """One depth map of one image, with what its numbers mean.

    Attributes:
        values: float32 (H, W), finite. The model's raw numbers in ``space``; metres if ``metric``.
        space: What ``values`` are affine in; ``Space.DEPTH`` if ``metric``.
        uncertainty: float32 (H, W), one standard deviation in the unit of ``values``; None if it was not estimated.
        metric: Whether ``values`` are metres.
        model: Name of the model that made it.
        meta: How it was made: steps, ensemble, seed, processing size, precision, timings ...
        validity: uint8 (H, W) of :class:`Validity`: what stands behind each pixel; None if nobody has said.
    """

    values: FloatMap
    space: Space
    uncertainty: FloatMap | None = None
    metric: bool = False
    model: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    validity: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise InputError(f"a depth map is (H, W), not {self.values.shape}")
        if self.uncertainty is not None and self.uncertainty.shape != self.values.shape:
            raise InputError(f"uncertainty {self.uncertainty.shape} and values {self.values.shape} differ in size")
        if self.validity is not None and self.validity.shape != self.values.shape:
            raise InputError(f"validity {self.validity.shape} and values {self.values.shape} differ in size")
        if self.metric and self.space is not Space.DEPTH:
            raise InputError(f"a metric map is in metres of depth, not in {self.space.value}")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def depth_m(self) -> FloatMap:
        """Depth in metres, float32 (H, W).

        Raises:
            NotMetricError: The map is known only up to scale and shift.
        """
        if not self.metric:
            raise NotMetricError(
                f"this {self.model or 'prediction'} map is relative ({self.space.value}, scale and shift unknown); "
                "give sparse depth to leadline.complete, or known metres to aligned()"
            )
        return self.values

    @property
    def evident_depth_m(self) -> FloatMap:
        """Depth in metres, float32 (H, W), without what has no evidence: +Inf for sky, NaN out of range (REP-117).

        A copy, unless nothing is without evidence.

        Raises:
            NotMetricError: See :attr:`depth_m`.
        """
        depth_m = self.depth_m
        if self.validity is None or not (self.validity >= Validity.SKY).any():
            return depth_m
        return np.select(
            [self.validity == Validity.SKY, self.validity == Validity.OUT_OF_RANGE],
            [np.float32(np.inf), np.float32(np.nan)],
            depth_m,
        ).astype(np.float32)

    def aligned(self, scale: float, shift: float) -> DepthPrediction:
        """The metric prediction whose space values are ``scale * values + shift``.

        Uncertainty is carried through the fit to first order.
        """
        fitted = scale * self.values.astype(np.float64) + shift
        depth_m = self.space.to_depth(fitted).astype(np.float32)
        sigma = None
        if self.uncertainty is not None:
            sigma = (abs(scale) * self.uncertainty * self.space.depth_slope(fitted)).astype(np.float32)
        meta = {**self.meta, "scale": scale, "shift": shift, "fitted_in": self.space.value}
        return replace(self, values=depth_m, space=Space.DEPTH, uncertainty=sigma, metric=True, meta=meta)

    def nearness(self, low_percent: float = 0.0, high_percent: float = 100.0) -> FloatMap:
        """For display: float32 (H, W) in [0, 1], 1 is nearest, percentiles of the map as end points."""
        return nearness(self.values, self.space.near_is_high, low_percent, high_percent)
