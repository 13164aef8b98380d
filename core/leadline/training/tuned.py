"""The numbers of training that were chosen by us. What the papers fix stands in the recipes, what a run may change in the configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Targets:
    """What the networks are asked for."""

    #: Where the sky lies when nothing is cut off: a little beyond the far quantile, which is 1.
    sky_beyond: float = 1.25
    #: Depth itself is compared at one pixel of so many along each side; caches of latents hold these.
    every: int = 4


@dataclass(frozen=True)
class _Curves:
    """How a run is shown."""

    #: The smooth line is a mean over this share of the values.
    window: float = 0.1


TARGETS, CURVES = _Targets(), _Curves()
