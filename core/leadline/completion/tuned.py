"""The numbers of completion that were tuned, by what they belong to.

What a caller may change is in :mod:`leadline.completion.options`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Fit:
    """Scale and shift of a whole map."""

    #: Points under which a prior about maps still tells something,
    prior_matters: int = 50
    #: and under which it is all that tells wrong points from right.
    too_few_to_vote: int = 12
    #: A point agrees with the majority's fit within so many of its sigma,
    agrees_sigma: float = 4.0
    #: or within this difference of log depth.
    agrees: float = 0.3
    #: Points from which on a map that explains them no better than a constant is given up.
    enough_to_give_up: int = 24
    #: Points the robust fit looks at; more add time and nothing else.
    fitted: int = 300
    #: Lines through two of them that it tries: a third of all lines are good where 45 % of points are wrong.
    lines: int = 200


@dataclass(frozen=True)
class _Prior:
    """What a relative map means before any point is seen, and the grids on which that is computed."""

    #: Mean of the logarithm of the depth ratio, far end over near end: a factor of four,
    log_ratio: float = 1.35
    #: and its standard deviation: between one and a half (a table seen from above) and fifteen (a street).
    log_ratio_sigma: float = 0.65
    #: Standard deviation of the model's error in log depth: small networks are off by 15 %,
    model_error: float = 0.16
    #: and of its logarithm.
    log_model_error_sigma: float = 0.6
    #: Quantiles of a map that count as its far and near end, percent: single pixels tell nothing, and sky does not count twice.
    ends: tuple[float, float] = (1.0, 99.0)
    #: The map's ends are found on so many of its pixels.
    looked_at: int = 20_000
    #: Log ratios that are tried: from, to, how many.
    ratios: tuple[float, float, int] = (0.02, 4.5, 225)
    #: Model errors that are tried: from, to, how many.
    errors: tuple[float, float, int] = (0.004, 0.8, 16)
    #: Values of the map at which the uncertainty is kept.
    knots: int = 33
    #: How far beyond its ends a map is followed, in lengths between them.
    beyond_ends: tuple[float, float] = (-0.1, 1.05)


@dataclass(frozen=True)
class _Setting:
    """How the points lie on the picture."""

    #: Points under which nobody asks whether they are a scanner's.
    fewest_in_lines: int = 50
    #: Points, or places, that are asked.
    asked: int = 300
    #: Share of places that lie within the usual distance to a point where there are points,
    near: float = 0.25
    #: and how far apart scattered points are in units of it: 1 / sqrt(ln(4/3) / pi).
    scattered: float = 3.3
    #: A scanner's points are closer to the nearest than this share of what scattered ones would be (half of their spacing).
    closer: float = 0.7
    #: They need as few neighbours as scattered ones if they are farther apart than this share of what points would be that
    #: are scattered over the part of the picture they cover: its square cells, of so many points on average, that have any.
    evenly: float = 0.75
    per_cell: float = 9.0
    #: Pixels of the grid from one point to the next, at least.
    grid_pixels: float = 1.6
    #: A tile is three pixels of the grid wide if its outer ones are then nearer to its centre than this share of the points' spacing.
    tile_reach: float = 0.7


@dataclass(frozen=True)
class _Range:
    """Parts that lie farther than the sensor reports anything."""

    #: Quantile of the distances to the nearest point that is inside what the sensor covers, and what it is of the usual one there.
    covered: float = 0.2
    usual: float = 1.8
    #: So many usual distances without a point are empty.
    empty: float = 2.0
    #: Quantile of the points' depths in the model that is the end of the range.
    end: float = 0.98
    #: Share of the picture that is empty and beyond it: up to here by chance,
    chance: float = 0.02
    #: from here on because the sensor stops there.
    surely: float = 0.06
    #: The model is trusted to tell what is beyond up to this difference of log depth.
    ramp: float = 0.25
    #: Standard deviation of log depth there.
    sigma: float = 0.45


@dataclass(frozen=True)
class _Ground:
    """Metres from the camera's height above flat ground."""

    #: Ground beyond this many camera heights is nearly at the horizon and says little.
    heights: float = 15.0
    #: Largest median error, as a share of depth, with which the picture's lower part still passes as flat ground.
    tolerance: float = 0.15
    #: Largest change of scale, as a share, by one standard deviation of the direction, with which the fit is worth anything.
    tolerable_tilt: float = 0.5
    #: Fewer pixels of ground than this decide nothing.
    fewest: int = 50


@dataclass(frozen=True)
class _Outliers:
    """Dropping wrong points by a small network."""

    #: Fewest neighbours that can contradict a point.
    fewest: int = 5
    #: Fewest points of which any is dropped.
    fewest_points: int = 16
    #: Mean share of wrong points among those that the network was trained with.
    trained_share: float = 0.23
    #: The trust that every round starts from.
    first_trust: float = 0.7
    #: Rounds: each sees which neighbours the round before distrusts.
    rounds: int = 3
    #: Points are dropped if they are right with less than this probability.
    kept: float = 0.6
    #: So many points are judged first, in one round;
    sample: int = 1000
    #: if the share of wrong ones seems to be below this, none is dropped.
    clean: float = 0.01
    #: Bounds of the estimated share of wrong points.
    least_share: float = 0.002
    most_share: float = 0.6
    #: Standard deviation of the weight of colour in the plane of the surroundings, CIELAB units.
    colour: float = 24.0
    #: Distance in log depth at which a neighbour loses half of its say about the plane.
    near_plane: float = 0.1
    #: Ridge of the plane's slope.
    ridge: float = 0.15


@dataclass(frozen=True)
class _Support:
    """Dropping wrong points by rules: a point needs neighbours that agree with it."""

    #: Fewest neighbours that can contradict a point.
    fewest: int = 5
    #: Differences are in units of the fusion's tolerance. A neighbour agrees within this one;
    agrees: float = 1.0
    #: in the last passes within this multiple of what close neighbours differ by,
    times: float = 2.5
    #: at least within this one.
    least: float = 0.1
    #: A neighbour counts for the plane within this one.
    near_plane: float = 0.4
    #: Support at which half of the trust is lost when many points are wrong, in each pass.
    asked: tuple[float, float, float, float] = (0.36, 0.36, 0.2, 0.2)
    #: Width of the change from trusted to not.
    softness: float = 0.2
    #: Share of unsupported points that clean scenes stay below: real scenes have points of their own (a pole, a finger), so a
    #: few isolated points are no reason to drop any.
    clean: float = 0.02
    #: Share of unsupported points from which on the full support is asked for.
    spoiled: float = 0.08
    #: A point with less support than this is unsupported.
    unsupported: float = 0.2
    #: So many points are looked at first.
    sample: int = 2000
    #: Residual and values both count unless neighbours differ this many times less in one of them.
    both: float = 1.3
    #: Slopes are drawn towards flat by this ridge (distances in units of the neighbours' root mean square).
    ridge: float = 0.15
    #: Least weight of a neighbour of another colour.
    other_colour: float = 0.05


@dataclass(frozen=True)
class _LeftOut:
    """Learning from points that are left out."""

    #: Fewer points than this teach nothing.
    fewest: int = 8
    #: Shares of the model that are tried,
    shares: int = 5
    #: on one of so many left-out points.
    tried: int = 3
    #: Pixels farther from points than so many of their usual distances are in a hole;
    hole: float = 3.0
    #: less than this share of them is no hole worth leaving out a region for.
    holes_share: float = 0.002
    #: Fewest points that must be left outside of a region.
    fewest_around: int = 30
    #: So many left-out points get an edge of their own and set the scale of sigma; an edge is told by 25 pixels.
    edged: int = 400


@dataclass(frozen=True)
class _Uncertainty:
    """Sigma by a network that sees what foretells an error, scaled by left-out points; its weights were fitted to these."""

    #: Left-out points under which there is nothing to learn from.
    fewest: int = 24
    #: Shares of left-out points whose errors are no larger than the usual error, and than a large one;
    shares: tuple[float, float] = (0.6, 0.95)
    #: what is added to both, in log depth: no sensor is exact.
    least: float = 1e-3
    #: Added to what is compared to the usual error, before the logarithm, and to a distance in colour.
    floor: float = 0.05
    same_colour: float = 2.0
    #: Bounds of a neighbour's difference of log depth.
    jumps: tuple[float, float] = (-0.5, 2.0)
    #: Shares of left-out points that one and two sigma are scaled to cover (the mean of both scales), by rendered scenes left aside;
    covered: tuple[float, float] = (0.65, 0.90)
    #: and of regions, which are cut at the rims of holes, where edges are many;
    covered_regions: tuple[float, float] = (0.50, 0.85)
    #: drawn towards the network's own scale as if so many more errors agreed with it.
    believed: float = 50.0
    #: Of scan lines and keypoints a scale below the network's own counts this much only (its logarithm): they are easier than what lies
    #: between them. On rendered scenes the scale that pixels need falls 0.6 to 0.8 as fast as that of left-out points.
    easier_lines: float = 0.7
    #: Where left-out points are farther from the others than pixels are (a lattice's), their distance counts as this power of that
    #: ratio less: they are hardly worse for it.
    lattice: float = 0.25
    #: Least sigma, as a share of the step to the nearest or farthest neighbour: a pixel may be on any surface around it.
    missed: float = 0.02
    #: Least that sigma is multiplied by.
    least_scale: float = 0.2
    #: Least sigma out of the points' reach, as a share of that of scale and shift alone.
    alone: float = 0.35
    #: Beyond so many usual distances from the nearest point errors are those of regions.
    hole: float = 3.0


@dataclass(frozen=True)
class _Sky:
    """Features of the search for sky; its weights were fitted to these."""

    #: Bins of lightness of the colour histograms.
    lightness_bins: int = 22
    #: Bins of each of the two colours of CIELAB.
    colour_bins: int = 16
    #: Width of a bin in 8-bit units, of lightness
    lightness_step: int = 12
    #: and of a colour.
    colour_step: int = 6
    #: Steps of a logit in the map that is brought to full size: eight bits are far faster than floats.
    logit_steps: int = 16
    #: Share of all pixels that an unseen colour is taken for.
    unseen: float = 2e-5
    #: Largest logarithm of a ratio of colours' shares.
    largest: float = 5.0
    #: The sensor's view begins so many usual distances above the row
    first_rows: float = 3.0
    #: that this percentage of the points lies above.
    first_percent: float = 0.5
    #: Below that row a missing return raises the logit by so much at most, as its view may begin lower in places.
    doubt: float = 3.5
    #: Where a square of this side, in pixels of the small picture,
    crowd_side: int = 5
    #: has more than this share of the usual density of points, there is a surface: wider squares cut the sky's rim, sparser ones nothing.
    crowd: float = 0.5
    #: Returns within a square of this side around the sky that is sure are those of its rim, and tell of no wall.
    rim: int = 7
    #: A gap below the sky holds so many sure pixels
    gap_sure: int = 10
    #: and is this near at most (0 the model's far end, 1 its near end): a car's window is nearer.
    gap_near: float = 0.1


@dataclass(frozen=True)
class _Stream:
    """What a stream remembers of the frames before."""

    #: Size of the picture by which a cut is recognised, (width, height).
    thumbnail: tuple[int, int] = (32, 24)
    #: Correlation with the last frame's under which it is one.
    same_scene: float = 0.5
    #: Points that the memory weighs as, at most.
    points: float = 200.0
    #: How much of it the next frame keeps.
    kept: float = 0.9
    #: Memory is dropped when the points' median residual under it is this many times that of a fit of their own.
    contradiction: float = 3.0
    #: Fewer points than this cannot contradict the memory; it judges them.
    fewest_to_contradict: int = 8


@dataclass(frozen=True)
class _Blocks:
    """How long work is cut: shorter blocks are not worth a thread, longer ones keep too much on the way."""

    #: Least and most pixels of the regression.
    regressed: tuple[int, int] = (8000, 16384)
    #: Least and most points that the network judges.
    judged: tuple[int, int] = (1000, 16384)
    #: Rows of a full map.
    rows: int = 200
    #: Pairs of a place and a point at once, off the processor: 256 MB of distances.
    pairs: int = 1 << 26
    #: Pixels of a map that its far end is found on.
    far_end: int = 5000


@dataclass(frozen=True)
class _Traced:
    """Recording functions that are called again and again."""

    #: Calls that are made before one is recorded, which takes as long as some of them.
    calls: int = 4
    #: Records kept.
    kept: int = 16


FIT, PRIOR, SETTING, RANGE, GROUND = _Fit(), _Prior(), _Setting(), _Range(), _Ground()
OUTLIERS, SUPPORT, LEFT_OUT, UNCERTAINTY = _Outliers(), _Support(), _LeftOut(), _Uncertainty()
SKY, STREAM, BLOCKS, TRACED = _Sky(), _Stream(), _Blocks(), _Traced()
