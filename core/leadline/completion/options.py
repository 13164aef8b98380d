"""Every constant of the fusion in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from leadline.completion.local import LocalOptions
from leadline.completion.sky import SkyOptions


@dataclass(frozen=True)
class FusionOptions:
    """Constants of the fusion.

    Where the search runs:

    Attributes:
        neighbours: Points that each pixel looks at. More smooth edges, fewer leave planes to noise.
        line_neighbours: The same for scan lines: the nearest twelve would all lie on one line.
        working_pixels: The regression runs on a grid of about this many pixels (finer where points are dense) and is
            brought to full resolution with the model's own map. Time grows with it, sharpness hardly.
        guide_blur_px: Blur of the guide image, in pixels of an image 640 wide: sensor noise is no colour edge.
        seed: For the choice of left-out points and the robust fit.
        through_points: Method "depthfm": correct the network's metres by the points around. False: leave them as they are.

    What is another surface:

    Attributes:
        tolerance: Relative depth difference that starts to count as "another surface" among scattered points.
        line_tolerance: The same among scan lines, whose neighbours on the next line are far away on a slanted floor.
        dense_px: Where scattered points are closer than this, pixels, the tolerance falls with their spacing: points across an
            edge are then as near as those on this side of it, and the mean of both sides is on neither.
        in_line: Least over greatest eigenvalue of the scatter of a point's nearest neighbours, under which it is on a
            line with them. Scattered points have about 0.3.

    How far an estimate may go:

    Attributes:
        range_factor: Depth is never nearer or farther than the nearest and farthest point by more than this factor.
        beyond, beyond_lines: An estimate lies this share beyond the depths of the points around at most, and so much more at
            every spacing of the points from the nearest: where points are scattered, and between scan lines. In disparity a
            small step too far is a long way.
        model_decides: Fewer points than this do not bound the estimate.
        reach_spacings: Points reach this many of their usual distances to a pixel; beyond, the model decides.
        reach_diagonal: And where the fifth neighbour is farther than this share of the picture's diagonal, there is no local
            correction at all: so few points would bend the shape of the scene.

    What is left out to learn from:

    Attributes:
        left_out: Points left out to learn the model's share and the uncertainty; a third of it for scan lines, where each
            takes more neighbours to search.
        regions: Discs of points left out to learn what happens in holes and beyond the outermost points, at most.
        region_points: Points that discs are cut out of: in a large hole it does not matter how dense its rim is.
        strips: One of so many left-out points of a scan line is told by other lines alone.
        apart: Pixels are this many times farther from the lines than points of a line are from each other, from which on all
            caution is due.

    Beside an edge:

    Attributes:
        edge: With too few points to learn sigma from, so many times what an estimate differs from the mean of the grid's pixels around
            it is added to it: where exactly an edge runs is known to a pixel of the grid only.
        most_edge: What is added is at most this share of depth: an edge is no lack of evidence.

    Points that are wrong:

    Attributes:
        few: Fewer points than this are few to their judge.
        slight: Among few points, one less far than this (in log depth) from most around it is also judged by rules: the
            network was taught gross errors.
        rules_tolerance: The tolerance at which these rules ask whether neighbours agree.

    Where nothing can be measured:

    Attributes:
        unknown_sigma: Least sigma over depth out of range: nobody should act on such a pixel.
        sky_sigma: Sigma over depth of the sky's stand-in.
        held_sigma: Least sigma over depth under a scale and shift that was not fitted to points of this image.
        local, sky: Constants of the regression and of the search for sky.
    """

    neighbours: int = 12
    line_neighbours: int = 21
    working_pixels: int = 30_000
    guide_blur_px: float = 1.5
    seed: int = 0
    through_points: bool = True
    tolerance: float = 0.07
    line_tolerance: float = 0.2
    dense_px: float = 5.0
    in_line: float = 0.1
    range_factor: float = 4.0
    beyond: tuple[float, float] = (0.05, 0.1)
    beyond_lines: tuple[float, float] = (0.25, 0.25)
    model_decides: int = 100
    reach_spacings: float = 6.0
    reach_diagonal: float = 0.2
    left_out: int = 2000
    regions: int = 150
    region_points: int = 750
    strips: int = 2
    apart: float = 4.0
    edge: float = 1.0
    most_edge: float = 0.35
    few: int = 1000
    slight: float = 0.1
    rules_tolerance: float = 0.2
    unknown_sigma: float = 0.5
    sky_sigma: float = 1.0
    held_sigma: float = 0.25
    local: LocalOptions = field(default_factory=LocalOptions)
    sky: SkyOptions = field(default_factory=SkyOptions)
