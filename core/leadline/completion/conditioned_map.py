"""What a completion model gives: a map that brings its metres along."""

from __future__ import annotations

from dataclasses import dataclass

from leadline.depth.prediction import DepthPrediction


@dataclass(frozen=True)
class ConditionedMap(DepthPrediction):
    """Normalised log depth, not metric yet: ln z = centre + half_range · value, z in metres.

    Attributes:
        centre, half_range: Middle and half of the range of ln z that the measured points span.
    """

    centre: float = 0.0
    half_range: float = 1.0
