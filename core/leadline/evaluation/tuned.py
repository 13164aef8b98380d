"""The numbers of evaluation that were tuned or chosen by us. What papers and data sets fix stands where it is used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Films:
    """Which pixels of two frames show the same point. Depths are compared by their natural logarithm."""

    #: Forward and backward flow may disagree by this many pixels before a pixel counts as occluded.
    flow_px: float = 1.0
    #: A point's true depth changes by less than this between two frames.
    largest_change: float = 0.2
    #: Depths farther apart than this on one line of sight belong to two surfaces.
    hidden: float = 0.25


@dataclass(frozen=True)
class _Sfm:
    """Points as structure from motion gives them."""

    #: Keypoints kept.
    points: int = 1500
    #: Share of wrong ones.
    wrong: float = 0.05
    #: Relative noise of the depth of the others.
    noise: float = 0.02


@dataclass(frozen=True)
class _Work:
    """How work is cut and shown."""

    #: Pixels in a block: its float64 temporaries stay within a processor's cache.
    block_pixels: int = 1 << 18
    #: Batches that a Ray worker gets at a time: enough to read ahead, few enough to lose little when a node dies.
    batches_per_task: int = 4
    #: Harris corners looked for.
    corners: int = 1000


FILMS, SFM, WORK = _Films(), _Sfm(), _Work()
