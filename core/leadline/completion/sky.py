"""Which pixels are sky: from the photograph, the model's map and the measured points together.

Nothing measures the sky, so completion would hang a wall there. Five things tell it: the model's far end, smoothness,
colour (of skies at large, and of this picture's own sky against the rest of it), its place in the picture, and that no return
came from where returns would be expected. A logistic regression weighs them for every pixel of a small picture, first by what
holds for all pictures, then again with the colours of what the first one is sure of. It was fitted to made-up scenes
(``benchmarks/completion_sky.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from leadline.completion.tuned import SKY
from leadline.sensors.sparse import SparseDepth

Floats: TypeAlias = npt.NDArray[np.float32]
BoolMap: TypeAlias = npt.NDArray[np.bool_]
Rgb: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SkyOptions:
    """Constants of the search for sky.

    Attributes:
        long_side: Of the small picture, pixels. Edges are then found to about a pixel of it, and the search takes a few
            milliseconds.
        outdoors_m: There is no sky where neither the points (99 % quantile) nor the fitted model's far end reach this far:
            rooms have smooth white ceilings, too, and a bright wall across a yard may be the farthest thing there is.
        hit_density: What has more than this share of the usual density of points inside is no sky but a bright wall.
        least_share: The sky is at least this share of the picture; less is a gap in the model's map.
        sky: Probability from which on a pixel is sky. Far below one half, because the sky taken for a wall does more harm
            than a roof's edge taken for sky.
        sky_without_points: The same where too few points say where surfaces are.
        sky_unseen: The same above the sensor's view, where what it sees tells the colours of surfaces at least.
        sure: Probability from which on a pixel can begin a sky: one that touches the upper border or a side.
        fewest_points: Fewer points tell nothing by their absence.
        reach: A pixel's distance to the nearest point counts up to this many times the usual one.
        far_quantile, near_quantile: Of the model's map, percent: its ends.
    """

    long_side: int = 320
    outdoors_m: float = 20.0
    hit_density: float = 0.05
    least_share: float = 0.003
    sky: float = 0.12
    sky_without_points: float = 0.6
    sky_unseen: float = 0.35
    sure: float = 0.9
    fewest_points: int = 50
    reach: float = 6.0
    far_quantile: float = 0.2
    near_quantile: float = 98.0


#: Weights of the first and the second regression, the constant last; without enough points, and with them.
WITHOUT_POINTS: tuple[tuple[float, ...], tuple[float, ...]] = (
    (-1.456, 0.087, -1.141, -0.76, 0.216, 0.25, 0.984, 2.524, 0.468, 5.785, -0.528, 1.906, -6.67, -2.076, -5.461),
    (
        -0.846,
        -0.261,
        0.24,
        -0.661,
        1.18,
        0.145,
        -0.282,
        1.533,
        -1.764,
        1.531,
        -1.376,
        -0.564,
        -3.008,
        -1.402,
        0.658,
        -0.482,
        1.05,
        -0.567,
    ),
)
WITH_POINTS: tuple[tuple[float, ...], tuple[float, ...]] = (
    (
        0.899,
        0.272,
        -0.979,
        -0.666,
        0.643,
        0.171,
        0.049,
        1.036,
        1.996,
        6.583,
        -0.417,
        2.849,
        -5.102,
        -2.316,
        0.716,
        0.28,
        2.421,
        -3.248,
        -5.47,
    ),
    (
        -0.5,
        -0.065,
        -0.439,
        0.143,
        1.298,
        0.338,
        -0.695,
        -0.424,
        -1.179,
        0.795,
        -0.97,
        -0.03,
        -2.028,
        -1.798,
        0.521,
        -0.171,
        0.234,
        0.421,
        0.782,
        0.195,
        0.851,
        -1.555,
    ),
)


def sky_mask(
    rgb: Rgb, nearness: Floats, sparse: SparseDepth, far_end_m: float, options: SkyOptions | None = None
) -> BoolMap:
    """Pixels that are sky.

    Args:
        rgb: uint8 (H, W, 3).
        nearness: float32, the model's map with large values near, at any size and scale.
        sparse: What was measured; there may be no point.
        far_end_m: Depth of the fitted model's farthest part, metres.
        options: Constants.

    Returns:
        bool (H, W). A measured pixel is never sky.
    """
    options = options or SkyOptions()
    height, width = rgb.shape[:2]
    nothing = np.zeros((height, width), np.bool_)
    if not outdoors(sparse, far_end_m, options):
        return nothing
    small = Small.of(rgb, nearness, sparse, options)
    seen = _guess(small)
    judged = _judged(small, seen, seen, options)
    if small.first_row > 0:  # above what the sensor sees no return was to be expected
        without = small.without_returns()
        alone = _guess(without)
        both = alone.copy()  # the colours of the sky that missing returns tell are those of the sky above, too
        both[small.first_row :] = np.minimum(seen, alone + np.float32(SKY.doubt))[small.first_row :]
        unseen = _judged(without, alone, both, replace(options, sky_without_points=options.sky_unseen))
        judged = np.minimum(judged, unseen + np.float32(SKY.doubt))
        judged[: small.first_row] = unseen[: small.first_row]
    core = _core(small, judged, options)
    if core.mean() < options.least_share:
        return nothing
    if small.returns is not None and small.first_row == 0:
        judged[_walls(small, judged, core, options)] = -SKY.largest
    lowest = np.flatnonzero(core.any(axis=1)).max()
    judged[lowest + 1 :] = -SKY.largest  # gaps between leaves count, but none below the sky that is sure
    above = np.clip((judged - _logit(options.sky)) * SKY.logit_steps + 128, 0, 255).astype(np.uint8)
    full = np.asarray(cv2.resize(above, (width, height), interpolation=cv2.INTER_LINEAR) >= 128)
    full[sparse.v, sparse.u] = False
    return full


def _guess(small: Small) -> Floats:
    """Logits (h, w) of the first regression."""
    return weighed(small.features(), (WITHOUT_POINTS if small.returns is None else WITH_POINTS)[0])


def _judged(small: Small, guess: Floats, colours: Floats, options: SkyOptions) -> Floats:
    """Logits (h, w) of being sky, to be held against :attr:`SkyOptions.sky`, given those of the first regression and those that tell
    this picture's colours."""
    if not (colours > _logit(options.sure)).any():
        return np.full_like(guess, -SKY.largest)
    weights = (WITHOUT_POINTS if small.returns is None else WITH_POINTS)[1]
    judged = weighed([*small.features(), *small.second_features(guess, colours)], weights)
    if small.returns is None:
        judged -= np.float32(_logit(options.sky_without_points) - _logit(options.sky))
    return judged


def _core(small: Small, judged: Floats, options: SkyOptions) -> BoolMap:
    """bool (h, w): the parts of the likely sky that begin at a border, and, once there are such, the gaps below that are as sure."""
    likely = judged > _logit(options.sky)
    if small.returns is None:
        return _from_border(judged > _logit(options.sure), likely)
    if (
        small.first_row == 0
    ):  # a facade that touches the sky has returns: cut it off, for it must not take the sky along
        side = SKY.crowd_side
        likely &= cv2.blur(small.hit.astype(np.float32), (side, side)) <= SKY.crowd * small.hit.mean()
    sure = likely & (judged > _logit(options.sure))
    core = _without_hits(_from_border(sure, likely), small.hit, options.hit_density)
    if core.mean() < options.least_share or np.count_nonzero(sure & ~core) < SKY.gap_sure:
        return core
    return core | _without_hits(_gaps(sure, likely, small.nearness), small.hit, options.hit_density)


def _walls(small: Small, judged: Floats, core: BoolMap, options: SkyOptions) -> BoolMap:
    """bool (h, w): what looks like sky apart from the core, but has returns inside: a wall as grey as the sky, seen between trees."""
    rim = cv2.dilate(core.astype(np.uint8), np.ones((SKY.rim, SKY.rim), np.uint8)) > 0
    apart = (judged > _logit(options.sky)) & ~rim
    return apart & ~_without_hits(apart, small.hit, options.hit_density)


def outdoors(sparse: SparseDepth, far_end_m: float, options: SkyOptions) -> bool:
    """Whether the picture reaches far enough for there to be sky in it."""
    reach_m = float(np.percentile(sparse.depth_m, 99)) if len(sparse) else 0.0
    return max(reach_m, far_end_m) >= options.outdoors_m


@dataclass(frozen=True)
class Small:
    """What is known, at the size at which the sky is looked for.

    Attributes:
        rgb: uint8 (h, w, 3).
        nearness: float32 (h, w), 0 at the model's far end, 1 at its near end.
        returns: float32 (h, w) in [0, 1], how much farther than usual the nearest point is; None with too few points.
        hit: bool (h, w), pixels with a point.
        first_row: The uppermost row where the sensor would have seen something.
    """

    rgb: Rgb
    nearness: Floats
    returns: Floats | None
    hit: BoolMap
    first_row: int

    @classmethod
    def of(cls, rgb: Rgb, nearness: Floats, sparse: SparseDepth, options: SkyOptions) -> Small:
        """Everything of the full size made small."""
        height, width = rgb.shape[:2]
        factor = min(1.0, options.long_side / max(height, width))
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        map_ = cv2.resize(nearness, size, interpolation=cv2.INTER_AREA)
        low, high = np.percentile(map_[::2, ::2], [options.far_quantile, options.near_quantile])
        map_ = np.clip((map_ - low) / max(float(high - low), 1e-9), 0.0, 1.0).astype(np.float32)
        hit = np.zeros(size[::-1], np.uint8)
        hit[
            np.minimum(sparse.v * size[1] // height, size[1] - 1), np.minimum(sparse.u * size[0] // width, size[0] - 1)
        ] = 1
        returns, first_row = None, 0
        if len(sparse) >= options.fewest_points:
            distance = cv2.distanceTransform(1 - hit, cv2.DIST_L2, 3)
            usual = max(float(np.median(distance[::3, ::3])), 0.35 * (hit.size / len(sparse)) ** 0.5, 0.5)
            returns = np.minimum(distance / (options.reach * usual), 1.0).astype(np.float32)
            first = np.percentile(sparse.v, SKY.first_percent) * size[1] / height - SKY.first_rows * usual
            first_row = max(int(first), 0)
        picture = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        return cls(picture, map_, returns, hit > 0, first_row)

    def features(self) -> list[Floats]:
        """What the first regression weighs, (h, w) each."""
        return [*self.of_the_picture, *self._of_returns]

    @cached_property
    def _of_returns(self) -> list[Floats]:
        """The part of them that asks for points; none without."""
        if self.returns is None:
            return []
        near, around = self.of_the_picture[0], np.asarray(cv2.blur(self.returns, (5, 5)), np.float32)
        return [self.returns, self.returns * self.returns, around, near * around]

    @cached_property
    def of_the_picture(self) -> list[Floats]:
        """The part of them that does not ask for points."""
        colour = self.rgb.astype(np.float32) * np.float32(1 / 255)
        red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
        light = (red + green + blue) / 3
        step = cv2.morphologyEx(light, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) * 255
        # Not log1p, which takes five times as long.
        rough, rough_around = (np.log(1 + np.minimum(s, 40) / 3) for s in (step, cv2.blur(step, (9, 9))))
        near = np.log(self.nearness + np.float32(0.03))
        row = np.repeat(np.linspace(0, 1, len(light), dtype=np.float32)[:, None], light.shape[1], axis=1)
        relative = light / max(float(np.percentile(light[::3, ::3], 95)), 1e-3)
        found = [near, near * near, (self.nearness < 0.01).astype(np.float32), rough, rough_around, near * rough_around]
        found += [light, relative, relative * relative, blue - red, np.abs(blue - red), blue - green, row, near * row]
        return found

    @cached_property
    def bins(self) -> npt.NDArray[np.intp]:
        """(h, w) each pixel's bin of colour."""
        bin_of = _bin_of()
        light, a, b = (
            bin_of[i].take(channel) for i, channel in enumerate(cv2.split(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)))
        )
        return np.asarray(light + a + b)

    def without_returns(self) -> Small:
        """The same with too few points to tell anything by their absence."""
        other = replace(self, returns=None)
        for name in ("of_the_picture", "bins"):
            other.__dict__[name] = getattr(self, name)
        return other

    def second_features(self, guess: Floats, colours: Floats | None = None) -> list[Floats]:
        """What the second regression weighs besides, given the logits (h, w) of the first: this picture's own colours.

        Args:
            guess: Logits of the first regression.
            colours: Those by which the colours of sky and rest are told, if not these.
        """
        chance = 1 / (1 + np.exp(-(guess if colours is None else colours)))
        sky = _histogram(self.bins, chance * (chance > 0.9))
        rest = _histogram(self.bins, (1 - chance) * (chance < 0.5) + np.float32(2) * self.hit)
        ratios = np.clip(np.log((sky + SKY.unseen) / (rest + SKY.unseen)), -SKY.largest, SKY.largest)
        ratio = ratios.astype(np.float32).take(self.bins)
        blurred = cv2.blur(ratio, (3, 3)), cv2.blur(np.clip(guess, -9, 9), (9, 9))
        return [ratio, *(np.asarray(one, np.float32) for one in blurred)]


def weighed(features: list[Floats], weights: tuple[float, ...]) -> Floats:
    """Logits (h, w): the weighted sum of features and a constant."""
    total = np.full(features[0].shape, weights[-1], np.float32)
    for feature, weight in zip(features, weights[:-1], strict=True):
        cv2.scaleAdd(feature, weight, total, total)
    return total


@cache
def _bin_of() -> npt.NDArray[np.intp]:
    """(3, 256): what each value of lightness and of both colours, CIELAB of 8 bits, adds to the number of a bin."""
    value = np.arange(256)
    colour = np.clip((value - 128) // SKY.colour_step + SKY.colour_bins // 2, 0, SKY.colour_bins - 1)
    return np.stack([value // SKY.lightness_step * SKY.colour_bins**2, colour * SKY.colour_bins, colour])


def _logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


def _histogram(bins: npt.NDArray[np.intp], weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Shares of colours, smoothed over neighbouring bins."""
    counts = np.bincount(bins.ravel(), weights.ravel(), SKY.lightness_bins * SKY.colour_bins**2)
    shares = counts.reshape(SKY.lightness_bins, SKY.colour_bins, SKY.colour_bins)
    for axis in range(3):
        shares = 0.25 * np.roll(shares, 1, axis) + 0.5 * shares + 0.25 * np.roll(shares, -1, axis)
    return np.asarray(shares.ravel() / max(float(shares.sum()), 1e-6))


def _from_border(sure: BoolMap, likely: BoolMap) -> BoolMap:
    """The connected parts of ``likely`` that hold a ``sure`` pixel and touch the upper border or, above the middle, a side."""
    _, parts = cv2.connectedComponents(likely.astype(np.uint8), connectivity=8)
    half = len(parts) // 2
    border = np.concatenate([parts[0], parts[:half, 0], parts[:half, -1]])
    good = np.zeros(int(parts.max()) + 1, np.bool_)
    good[border] = True
    has_sure = np.zeros_like(good)
    has_sure[parts[sure]] = True
    good &= has_sure
    good[0] = False
    return np.asarray(good[parts])


def _gaps(sure: BoolMap, likely: BoolMap, nearness: Floats) -> BoolMap:
    """The connected parts of ``likely`` that hold some ``sure`` pixels and lie at the model's far end: sky below trees and bridges."""
    count, parts = cv2.connectedComponents(likely.astype(np.uint8), connectivity=8)
    area = np.bincount(parts.ravel(), minlength=count)
    near = np.bincount(parts.ravel(), nearness.ravel(), minlength=count) / np.maximum(area, 1)
    good = (np.bincount(parts[sure], minlength=count) >= SKY.gap_sure) & (near < SKY.gap_near)
    good[0] = False
    return np.asarray(good[parts])


def _without_hits(core: BoolMap, hit: BoolMap, density: float) -> BoolMap:
    """The connected parts of ``core`` inside of which hardly any point was measured."""
    count, parts = cv2.connectedComponents(core.astype(np.uint8), connectivity=8)
    inside = np.where(cv2.erode(core.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0, parts, 0).ravel()
    area = np.bincount(inside, minlength=count)
    hits = np.bincount(inside, hit.ravel(), minlength=count)
    good = hits <= density * hit.mean() * area + 1
    good[0] = False
    return np.asarray(good[parts])
