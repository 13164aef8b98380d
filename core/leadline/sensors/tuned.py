"""The numbers of sensors that were tuned, by what they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Occlusion:
    """Points that the LiDAR sees past an object and the camera does not."""

    #: A point is hidden if a nearer one within the window is nearer by this share of its depth
    ratio: float = 0.25
    #: and by this much: noise and slanted floors hide nothing.
    metres: float = 0.5
    #: The window as a share of the image's width (5 pixels of 640).
    window: float = 5 / 640


@dataclass(frozen=True)
class _Alignment:
    """Depth jumps of a sweep against the edges of its image."""

    #: A jump: what lies behind is farther by this share,
    jump_share: float = 0.2
    #: and so much farther than the near surface would be if it went on, so that slanted surfaces are none.
    off_surface: float = 0.12
    #: Turns that are tried: up to so many degrees to either side, how many;
    turns_deg: tuple[float, int] = (2.0, 81)
    #: moves sideways in metres,
    sideways_m: tuple[float, int] = (0.2, 81)
    #: and along the optical axis, which show less.
    forward_m: tuple[float, int] = (0.4, 81)
    #: Neighbours of a point that are looked at.
    neighbours: int = 10
    #: And of the point behind a jump, to find the next ring: those are denser along a ring than across.
    neighbours_beyond: int = 24
    #: How far from the axis one may lie, as a share of its distance.
    off_axis: float = 0.35
    #: Where depth changes is looked for in cells of this size.
    cell_px: int = 16
    #: Spacing of beams beyond which the place of an edge is not known.
    widest_px: float = 16.0
    #: Between two beams an edge may lie anywhere: within so many of their spacings, as it is soft.
    spacings: float = 1.25
    #: Edges are looked for within this angle of where they should be.
    reach_rad: float = 0.035
    #: An edge of the image itself is so sharp (standard deviation).
    edge_px: float = 1.2
    #: Blurs are done for so many widths: one for each point would cost too much.
    blurs: int = 5
    #: Jumps are summed up in so many upright strips of the picture, so that what only one thing in it says can be told.
    strips: int = 8
    #: A predicted edge counts within so many pixels (standard deviation of a blur, as a share of the width).
    predicted_blur: float = 1 / 160


@dataclass(frozen=True)
class _Lens:
    """Where a distortion is believed."""

    #: Points further out than the image's corner by this factor (tangent of the angle off the axis) are not projected:
    #: distortion polynomials turn back there and would put them into the image.
    corner_margin: float = 1.1


@dataclass(frozen=True)
class _Points:
    """Measured points."""

    #: A median depth beyond this, metres, is taken for another unit than metres.
    implausible_m: float = 1000.0
    #: With more pixels than this for each point, points are sorted, else written to a map: 25 000 points of 1280×720 take 0.5 and 1.7 ms,
    #: 300 000 of 640×480 take 10 and 4 ms.
    pixels_each: int = 8


@dataclass(frozen=True)
class _Ground:
    """Flat ground in the picture."""

    #: Pixels looked at across the picture; twice as many down it.
    grid: int = 48


@dataclass(frozen=True)
class _Product:
    """A small matrix times many columns."""

    #: OpenBLAS starts threads from 262144 multiplications on; half of that is as fast.
    multiplications: int = 131_072


@dataclass(frozen=True)
class _Transforms:
    """Poses over time, nanoseconds and metres."""

    #: The velocity for an extrapolation is taken over at least this time, so that jitter of stamps does not matter.
    velocity_ns: int = 30_000_000
    #: A stamp so far before the newest one means that time was reset.
    reset_ns: int = 1_000_000_000
    #: A pose farther from where the last velocity leads than this
    leap_m: float = 0.3
    #: and than this acceleration explains (m/s²) is a leap: odometry was reset.
    acceleration: float = 30.0
    #: Between two poses farther apart in time than this, and in space than a leap, nobody knows the way.
    gap_ns: int = 500_000_000


OCCLUSION, ALIGNMENT, LENS, POINTS, GROUND, PRODUCT, TRANSFORMS = (
    _Occlusion(),
    _Alignment(),
    _Lens(),
    _Points(),
    _Ground(),
    _Product(),
    _Transforms(),
)
