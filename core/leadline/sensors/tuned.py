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
    #: Neighbours of a point that are looked at.
    neighbours: int = 10
    #: How far from the axis one may lie, as a share of its distance.
    off_axis: float = 0.35
    #: Where depth changes is looked for in cells of this size.
    cell_px: int = 16
    #: Spacing of beams beyond which the place of an edge is not known.
    widest_px: float = 16.0
    #: Edges are looked for within this angle of where they should be.
    reach_rad: float = 0.035
    #: An edge of the image itself is so sharp (standard deviation).
    edge_px: float = 1.2
    #: Blurs are done for so many widths: one for each point would cost too much.
    blurs: int = 5
    #: A predicted edge counts within so many pixels (standard deviation of a blur, as a share of the width).
    predicted_blur: float = 1 / 160


OCCLUSION, ALIGNMENT = _Occlusion(), _Alignment()
