"""The numbers of geometry that were tuned, by what they belong to. Defaults of parameters stand beside their functions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Silhouettes:
    """Where a depth map is cut. Shares are of the lattice's long edge."""

    #: Half the width of a ramp that still counts as one edge.
    ramp_share: float = 0.004
    #: Within a ramp, steps at least this share of the mean step belong to it, whatever slope the ramp stands on.
    ramp_step: float = 0.5
    #: Half the widths of ramps that are too wide for one edge and may be a blurred one.
    wide_shares: tuple[float, ...] = (0.012, 0.018, 0.025, 0.032, 0.04)
    #: Wide ramps count only from this angle between normal and line of sight on: gentle ones are folds and cushions.
    wide_degrees: float = 65.0
    #: Share of the threshold from which a wide ramp counts: its own ends, taken for slopes, hide the rest of its jump.
    wide_jump: float = 0.6
    #: Half the widths within which a blurred step shows how wide its blur is: steps of little more than the threshold.
    levelled_shares: tuple[float, ...] = (0.005, 0.0075, 0.01)
    #: Such a step of a tenth, blurred by a sigma of 16 pixels of 1200, is hardly steeper where a wide lens sees it.
    levelled_degrees: float = 50.0
    #: Least share of the change within twice a reach that lies within the reach: below, the blur's width hardly shows.
    least_ratio: float = 0.18
    #: A wide ramp is no edge if a narrower one lies within so many of its half widths.
    explained: int = 2
    #: Least run-up beside a wide ramp, as a share of its half width: at the picture's border a shorter one misleads, as blur
    #: flattens what lies there.
    least_run_up: float = 0.5
    #: Half the widths of ridges and valleys of nearness that blur may have left of a pole, or of a gap.
    ridge_shares: tuple[float, ...] = (0.015, 0.03, 0.045, 0.06)
    #: Share of the threshold from which such a ridge counts: blur takes most of a pole's height, but ripples of 1 % are none.
    ridge_height: float = 0.4
    #: Most of its height that may lie in a sixth of one slope: more, and it is as high as it looks.
    ridge_step: float = 0.6
    #: Angle between normal and line of sight from which both its slopes must be steep, somewhere.
    ridge_degrees: float = 40.0
    #: A plane goes on linearly over these shares, a ramp over none of them.
    plane_shares: tuple[float, ...] = (0.03, 0.06, 0.12)
    #: How far the change over such a stretch may be from what the slope at its start says, as a share of that.
    plane_tolerance: float = 0.2


@dataclass(frozen=True)
class _Planes:
    """Flat parts around marked points, and the ratio of far to near that makes them flat."""

    #: Ratios that are tried: from, to, how many.
    ratios: tuple[float, float, int] = (1.05, 60.0, 60)
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

    #: Focal lengths that are tried, over the picture's long edge: from, to, how many. On full frame 18 mm to 90 mm.
    focal_per_long_edge: tuple[float, float, int] = (0.5, 2.5, 25)
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
    #: How many times the wanted number a mesh may have.
    most: float = 1.05
    #: An adaptive mesh this near to the wanted number (as a share of it) is taken.
    close_enough: float = 0.02


@dataclass(frozen=True)
class _Lattice:
    """Depth on a coarser grid than the picture's."""

    #: Neighbouring pixels whose depths differ by more than this factor are not mixed by interpolation.
    edge_ratio: float = 1.03


@dataclass(frozen=True)
class _Layers:
    """What is put behind silhouettes."""

    #: How far the background goes on under what is visible, pixels,
    overlap_px: int = 3
    #: and how much farther than that it lies, so that neither shows through the other.
    behind: float = 1.002


@dataclass(frozen=True)
class _Ranges:
    """The ends of a relative map."""

    #: A relative map reaches at most this factor beyond the near and far distance that it was given.
    overshoot: float = 1.25


@dataclass(frozen=True)
class _Sky:
    """The sky of a photograph without measured points."""

    #: How far the brightness may change from one pixel to the next inside the sky (0 to 255).
    smooth_step: float = 14.0
    #: Sweeps of the flood fill; each one goes straight through the picture in both directions.
    sweeps: int = 6


@dataclass(frozen=True)
class _Occlusion:
    """How much stands around a point."""

    #: Directions in the picture in which occlusion looks,
    directions: int = 8
    #: and steps along each.
    steps: int = 6


@dataclass(frozen=True)
class _Panorama:
    """How the tiles of a panorama come onto one scale."""

    #: How far from twice as wide as high a panorama may be, as a share of its width.
    aspect_tolerance: float = 0.01
    #: Pixels along a tile's edge: a quarter of the panorama's width, but no fewer
    least_tile: int = 64
    #: and no more than this, as models see no more.
    largest_tile: int = 768
    #: Rows of the map all round at most.
    largest_height: int = 1024
    #: Rays on which tiles are compared: some hundred for each pair that overlaps.
    rays: int = 6000
    #: A fit may not be good by huge factors: this share of the variation is added to the disagreement of any.
    ridge: float = 1e-7
    #: Rounds of weighting, each by how far tiles disagreed in the last,
    rounds: int = 6
    #: and from how many medians of the disagreement on a ray counts less.
    outlier: float = 2.0
    #: What a tile counts at its very border, where 1 is its middle.
    border_weight: float = 0.01


SILHOUETTES, PLANES, LINES, COUNTS = _Silhouettes(), _Planes(), _Lines(), _Counts()
LATTICE, LAYERS, RANGES, SKY, OCCLUSION = _Lattice(), _Layers(), _Ranges(), _Sky(), _Occlusion()
PANORAMA = _Panorama()
