"""The numbers of video that were tuned, by what they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Aligner:
    """Scale and shift from one frame to the next."""

    #: A fit whose median error, relative to the target's spread, is larger than this means another scene.
    cut_residual: float = 0.35
    #: A scene does not change its scale by more than this between two frames.
    largest_scale: float = 4.0
    #: Share of a new frame in the memory.
    renewal: float = 0.2
    #: Points of a regular grid that a fit looks at: it bounds the time, as do the next three.
    points: int = 1500
    #: Lines through two points that it tries.
    lines: int = 40
    #: Points that it judges these on.
    judged: int = 300
    #: Passes of re-weighting.
    passes: int = 5


@dataclass(frozen=True)
class _Flow:
    """Which points of a frame are found again in the next."""

    #: Forward and backward flow may disagree by so many pixels
    disagreement_px: float = 0.7
    #: and this share of their length before a point counts as hidden.
    disagreement_share: float = 0.07
    #: A point that looks this different (grey levels after exposure is equalised) is another point.
    looks_different: float = 28.0
    #: Before a still camera, a point that differs by more than this changed.
    still_differs: float = 5.0
    #: What has a steeper slope than this share of the picture, in percent, shows whether a camera moves:
    textured_percentile: float = 80.0
    #: it does if more than this share of that changed,
    camera_changes: float = 0.5
    #: or if the median of that moved by so many pixels: twenty frames remembered would lag by twenty times as much.
    camera_moves_px: float = 0.06
    #: Within so many pixels of a point, at most
    still_reach: int = 10
    #: this share may have changed if it is to count as still.
    still_share: float = 0.02


@dataclass(frozen=True)
class _Stabiliser:
    """Averaging along the flow."""

    #: Least share of a new frame in the average: how long the filter remembers.
    least_gain: float = 0.22
    #: A change is noise up to this multiple of what is usual in this frame,
    noise_up_to: float = 2.0
    #: and real from this one on.
    real_from: float = 4.0
    #: A piece that changed is a thing that moved if the flow lost more than this share of it; all of it is then believed at once.
    piece_share: float = 0.4
    #: Less of the picture than this found again in the frame before is a cut,
    cut_seen: float = 0.2
    #: if less than this looks alike, too.
    cut_alike: float = 0.8


@dataclass(frozen=True)
class _Film:
    """Storing a film in 16 bits."""

    #: The first frame fixes the scale of all; later frames may go this share of its range beyond it.
    headroom: float = 0.5
    #: The largest standard deviation that is stored, as a share of the range of the depth.
    spread_share: float = 0.25


ALIGNER, FLOW, STABILISER, FILM = _Aligner(), _Flow(), _Stabiliser(), _Film()
