"""The numbers of geometry that were tuned, by what they belong to. Defaults of parameters stand beside their functions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Silhouettes:
    """Where a depth map is cut. Shares are of the lattice's long edge."""

    #: Half the width of a ramp that still counts as one edge.
    ramp_share: float = 0.004
    #: Within a ramp, steps at least this share of the mean step belong to it.
    ramp_step: float = 0.5
    #: Half the widths of ramps that are too wide for one edge and may be a blurred one.
    wide_shares: tuple[float, ...] = (0.012, 0.025, 0.04)
    #: Wide ramps count only from this angle between normal and line of sight on: gentle ones are folds and cushions.
    wide_degrees: float = 60.0
    #: A wide ramp is no edge if a narrower one lies within so many of its half widths.
    explained: int = 3
    #: A plane goes on linearly over these shares, a ramp over none of them.
    plane_shares: tuple[float, ...] = (0.03, 0.06, 0.12)
    #: How far the change over such a stretch may be from what the slope at its start says, as a share of that.
    plane_tolerance: float = 0.2


@dataclass(frozen=True)
class _Planes:
    """Flat parts around marked points, and the ratio of far to near that makes them flat."""

    #: Radius of the patch around a marked point, as a share of the long edge.
    patch_radius: float = 0.2
    #: How far its normals may differ from the point's.
    patch_degrees: float = 30.0
    #: A flat of fewer pixels has no normal to rely on.
    fewest_pixels: int = 12
    #: Normals are taken over this share of the patch's radius, so that small bumps do not count.
    baseline: float = 0.25
    #: Pixels of a flat that are looked at: it bounds the time of a try.
    samples: int = 2000
    #: Relative jump in depth at which a flat ends.
    jump: float = 0.1


@dataclass(frozen=True)
class _Lines:
    """Focal length and directions from straight lines."""

    #: Pieces of edges that vote: a random choice of all, which bounds the time.
    voters: int = 1500
    #: Of these, those that judge the proposals: it bounds the time of each.
    judges: int = 200
    #: Random proposals per focal length: it must be likely that one of them has no stray edge in it.
    proposals: int = 1200
    #: Focal lengths whose best proposal is refined: neighbours on the list are close, and the judges are few.
    finalists: int = 6
    #: How far a plane's normal may be from a right angle to a direction, as a sine.
    on_axis: float = 0.05
    #: A direction needs this share of the votes; two must have it, and none may point straight along the axis, for a focal
    #: length to show.
    least_share: float = 0.08
    #: Long edge at which edges are looked for, pixels: noise is averaged away, long edges stay.
    working_edge: int = 640


@dataclass(frozen=True)
class _Counts:
    """Looking for a mesh of a wanted number of triangles."""

    #: Vertices along the long edge below which no lattice is coarsened further.
    coarsest: int = 9
    #: How often a better lattice is looked for at most: it bounds the time.
    tries: int = 8
    #: Coarsest squares of an adaptive lattice: its size is a multiple of them, and so can be chosen more finely.
    fine_block: int = 8
    #: An adaptive mesh this near to the wanted number (as a share of it) is taken.
    close_enough: float = 0.02


SILHOUETTES, PLANES, LINES, COUNTS = _Silhouettes(), _Planes(), _Lines(), _Counts()
