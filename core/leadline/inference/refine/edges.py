"""Edges where the photograph has them: pixels that a blurred step put between two surfaces go to one of the two.

A network at a few hundred pixels, scaled up, turns every step in depth into a ramp. Seen from the side, a ramp is a rubber
sheet or a curtain of flying pixels. Here the blur of the map is measured first; then, at the size at which the ramps are a few
pixels wide, each ramp is found, and so are the surfaces on both sides of it. At full size each of its pixels takes the value
of one side: the one whose colour it has, or, where colours tell nothing, the one it is nearer to.

Nothing else changes: flat and slanted surfaces, folds, and steps that are sharp already come back as they are.
NumPy and OpenCV only; :mod:`leadline.inference.refine.edges_on_device` does the same on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.inference.tuned import EDGES
from leadline.types import BoolMap, FloatMap, RgbImage

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Snapped:
    """What :func:`snap_edges` did.

    Attributes:
        values: float32 (H, W).
        uncertainty: float32 (H, W), or None; larger where it is open to which side a pixel belongs.
        moved: bool (H, W), the pixels that lay on a ramp.
        blur_px: Standard deviation of the map's steps before; infinite if it has none.
    """

    values: FloatMap
    uncertainty: FloatMap | None
    moved: BoolMap
    blur_px: float


Snap = Callable[[FloatMap, RgbImage, FloatMap | None], Snapped]


def sharpen(prediction: DepthPrediction, rgb: RgbImage, snap: Snap | None = None) -> DepthPrediction:
    """``prediction`` with its edges where ``rgb`` has them; see :func:`snap_edges`, which does it if ``snap`` is None."""
    snapped = (snap or snap_edges)(prediction.values, rgb, prediction.uncertainty)
    meta = {**prediction.meta, "detail": "edges", "edge_pixels": int(snapped.moved.sum())}
    return replace(prediction, values=snapped.values, uncertainty=snapped.uncertainty, meta=meta)


def snap_edges(values: FloatMap, rgb: RgbImage, uncertainty: FloatMap | None = None) -> Snapped:
    """Pull the ramps between surfaces to either side.

    Args:
        values: float32 (H, W), a depth map in any space. What is not finite stays as it is.
        rgb: uint8 (H, W, 3), its photograph.
        uncertainty: float32 (H, W), standard deviation of ``values``.

    Raises:
        InputError: Map and photograph differ in size.
    """
    known, whole = without_gaps(values, rgb)
    unchanged = Snapped(values, uncertainty, np.zeros(values.shape, bool), float("inf"))
    if whole is None:
        return unchanged
    blur_px = blur_of_steps(whole)
    if blur_px < EDGES.sharp_sigma or blur_px > min(values.shape) * EDGES.hopeless_share:
        return replace(unchanged, blur_px=blur_px)
    factor = max(1.0, blur_px / EDGES.working_sigma, max(values.shape) / EDGES.largest_work)
    size = (round(values.shape[1] / factor), round(values.shape[0] / factor))
    sides = _sides(_shrunk(whole, size), _shrunk(rgb, size).astype(np.float32))
    if sides is None:
        return replace(unchanged, blur_px=blur_px)
    moved = cv2.resize(sides.ramp, values.shape[::-1], interpolation=cv2.INTER_LINEAR) >= 128
    moved &= known
    out = values.copy()
    sigma = None if uncertainty is None else uncertainty.copy()
    rows = max(1, EDGES.at_once // values.shape[1])
    for top in range(0, values.shape[0], rows):
        _decide(slice(top, min(top + rows, values.shape[0])), sides, values, rgb, moved, out, sigma)
    return Snapped(out, sigma, moved, blur_px)


def without_gaps(values: FloatMap, rgb: RgbImage) -> tuple[BoolMap, FloatMap | None]:
    """Where a map (H, W) is finite, and the map with its largest value elsewhere; None if it is too small or empty to have edges.

    Raises:
        InputError: ``rgb`` is not its photograph, uint8 (H, W, 3).
    """
    if rgb.shape != (*values.shape, 3) or rgb.dtype != np.uint8:
        raise InputError(f"a map of {values.shape} needs its photograph as uint8 {(*values.shape, 3)}, not {rgb.shape}")
    known = np.isfinite(values)
    if not known.any() or min(values.shape) < 4 * EDGES.reach:
        return known, None
    return known, values if known.all() else np.where(known, values, values[known].max()).astype(np.float32)


def blur_of_steps(values: FloatMap) -> float:
    """Standard deviation, in pixels, of the blur of a map's strongest steps; infinite if there are none.

    Blurring a step of standard deviation s by a further b makes it shallower by sqrt(1 + b²/s²) (the measure of defocus of
    Zhuo and Sim, 2011). It is measured on a map so small that the steps are one to four pixels wide.
    """
    found = float("inf")
    for factor in (8, 4, 2, 1):
        size = (values.shape[1] // factor, values.shape[0] // factor)
        if min(size) < 16:
            continue
        small = _shrunk(values, size)
        slope = _slope(small)
        peak = (slope >= cv2.dilate(slope, np.ones((3, 3), np.uint8))) & (slope > np.percentile(slope[::2, ::2], 97))
        if slope.max() <= 1e-6 * (np.ptp(small) + 1e-30) or np.count_nonzero(peak) < 4:
            continue
        shallower = _slope(cv2.GaussianBlur(small, (0, 0), EDGES.measuring_blur_px))[peak]
        ratio = slope[peak] / np.maximum(shallower, np.float32(1e-30))
        width = float(np.median(EDGES.measuring_blur_px / np.sqrt(np.maximum(ratio**2 - 1.0, 1e-6))))
        found = factor * float(np.sqrt(max(width**2 - 0.5, 0.05)))  # without the blur of the slope's own kernel
        if found > factor:
            return found
    return found


@dataclass(frozen=True)
class _Sides:
    """The two surfaces beside each ramp, (h, w) and (h, w, 3), at the size at which ramps are found."""

    ramp: npt.NDArray[np.uint8]  # 255 on a ramp
    high: FloatMap
    low: FloatMap
    high_colour: Pixels
    low_colour: Pixels


def _sides(values: FloatMap, rgb: Pixels) -> _Sides | None:
    """Ramps, and for each of their pixels the nearest point of the surface above and of the one below (in value)."""
    window = np.ones((2 * EDGES.reach + 1, 2 * EDGES.reach + 1), np.uint8)
    top, bottom = cv2.dilate(values, window), cv2.erode(values, window)
    height = top - bottom
    slope = _slope(values)
    steepest, mean = cv2.dilate(slope, window), _mean(slope, 2 * EDGES.reach)
    span = float(np.subtract(*np.percentile(values, [98, 2])))
    steepness = steepest / np.maximum(mean, np.float32(1e-30))
    step = (steepness > EDGES.ramp_steepness) & (height > EDGES.least_step * span)
    ramp = step & (slope > EDGES.ramp_end * steepest)
    beside = (cv2.dilate(ramp.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & ~ramp
    above = beside & (values > (top + bottom) / 2)
    below = beside & ~above
    if not above.any() or not below.any():
        return None
    flat = (~ramp).astype(np.float32)
    colour = _mean(rgb * flat[..., None], 2) / (_mean(flat, 2) + np.float32(1e-6))[..., None]
    asked = cv2.dilate(ramp.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # what is read between pixels, too
    with ThreadPoolExecutor(1) as beside_this:  # OpenCV's distance transform has one thread
        upward = beside_this.submit(_nearest, above, values, colour, asked)
        far_down, low, low_colour = _nearest(below, values, colour, asked)
        far_up, high, high_colour = upward.result()
    reached = (far_up < 2.5 * EDGES.reach) & (far_down < 2.5 * EDGES.reach)
    reached &= ~lips(ramp, values, high_colour, low_colour)
    sure = somewhere_sharp(ramp & reached & (high - low > 0.4 * height), steepness)
    return _Sides(sure.astype(np.uint8) * 255, high, low, high_colour, low_colour)


def somewhere_sharp(ramp: BoolMap, steepness: FloatMap) -> BoolMap:
    """The connected pieces of ``ramp`` (h, w) with a place so steep that only a blurred step is; ground can rise, too, but evenly."""
    count, piece = cv2.connectedComponents(ramp.astype(np.uint8), connectivity=8)
    steepest = np.zeros(count, np.float32)
    np.maximum.at(steepest, np.asarray(piece[ramp], np.intp), steepness[ramp])
    return np.asarray(ramp & (steepest > EDGES.surely_a_step)[piece])


def lips(ramp: BoolMap, values: FloatMap, high_colour: Pixels, low_colour: Pixels) -> BoolMap:
    """The pieces of ``ramp`` (h, w) along a close side of the picture whose two sides have mostly one colour (h, w, 3)."""
    along = np.zeros(values.shape, bool)
    for where, map_ in ((along, values), (along.T, values.T)):
        for strip in (slice(None, EDGES.border), slice(-EDGES.border, None)):
            part = np.ascontiguousarray(map_[strip])
            towards, beside = (np.abs(cv2.Sobel(part, cv2.CV_32F, dx, 1 - dx, ksize=3)) for dx in (0, 1))
            where[strip] |= towards > beside
    places = ramp & along
    row, column = np.nonzero(places)
    apart = _squared(high_colour[row, column] - low_colour[row, column]) > EDGES.border_colours**2
    if apart.all():
        return np.zeros_like(places)
    count, found = cv2.connectedComponents(places.astype(np.uint8), connectivity=8)
    piece = np.asarray(found[row, column], np.intp)
    share = np.bincount(piece[apart], minlength=count) / np.maximum(np.bincount(piece, minlength=count), 1)
    places[row, column] = share[piece] < 0.5
    return places


def _decide(
    rows: slice,
    sides: _Sides,
    values: FloatMap,
    rgb: RgbImage,
    moved: BoolMap,
    out: FloatMap,
    sigma: FloatMap | None,
) -> None:
    """Give each ramp pixel of these rows the value of one side."""
    here = np.flatnonzero(moved[rows])
    if not here.size:
        return
    row, column = np.divmod(here, moved.shape[1])
    scale = sides.high.shape[0] / moved.shape[0], sides.high.shape[1] / moved.shape[1]
    place = (column + 0.5) * scale[1] - 0.5, (row + rows.start + 0.5) * scale[0] - 0.5
    high, low = _at(sides.high, place), _at(sides.low, place)
    # Neighbouring pixels decide together: the colour is a mean of 3×3.
    margin = slice(max(rows.start - 1, 0), rows.stop + 1)
    smooth = cv2.blur(rgb[margin], (3, 3))[rows.start - margin.start :]
    colour = smooth[row, column].astype(np.float32)
    high_colour, low_colour = _at(sides.high_colour, place), _at(sides.low_colour, place)
    apart = _squared(high_colour - low_colour)
    nearer = _squared(colour - low_colour) - _squared(colour - high_colour)
    old = values[rows].ravel()[here]
    share = np.clip((old - low) / np.maximum(high - low, np.float32(1e-30)), 0.0, 1.0)
    score = nearer / (2.0 * EDGES.colour_noise**2 + 0.5 * apart) + EDGES.place_weight * (share - 0.5)
    distinct = high > low
    out[rows].reshape(-1)[here] = np.where(distinct, np.where(score > 0, high, low), old)
    if sigma is not None:
        wrong = 1.0 / (1.0 + np.exp(np.abs(score)))  # chance that the other side was right
        own = sigma[rows].reshape(-1)
        own[here] = np.sqrt(own[here] ** 2 + wrong * (1.0 - wrong) * np.where(distinct, high - low, 0.0) ** 2)


def _squared(difference: Pixels) -> Pixels:
    """Squared lengths of vectors (n, 3). (NumPy's sum of three numbers each takes six times as long.)"""
    square = difference * difference
    return np.asarray(square[:, 0] + square[:, 1] + square[:, 2], np.float32)


def _at(image: Pixels, place: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]) -> Pixels:
    """``image`` at n places (x, y), bilinear: (n,) or (n, channels)."""
    width = 1024  # OpenCV limits the sides of an image
    count = place[0].size
    x, y = np.zeros((2, -(-count // width), width), np.float32)
    x.reshape(-1)[:count], y.reshape(-1)[:count] = place
    found = np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    return found.reshape(-1, *image.shape[2:])[:count]


def _nearest(seeds: BoolMap, values: FloatMap, colour: Pixels, asked: BoolMap) -> tuple[FloatMap, FloatMap, Pixels]:
    """For every pixel that is asked: distance to the nearest seed, and value and colour there. Zeros elsewhere (but the distance)."""
    distance, label = cv2.distanceTransformWithLabels(
        (~seeds).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    where = np.flatnonzero(seeds)
    seed_of = np.zeros(int(label.max()) + 1, np.int64)
    seed_of[label.ravel()[where]] = where
    here = np.flatnonzero(asked)
    source = seed_of[label.ravel()[here]]
    near, near_colour = np.zeros_like(values), np.zeros_like(colour)
    near.reshape(-1)[here] = values.ravel()[source]
    near_colour.reshape(-1, 3)[here] = colour.reshape(-1, 3)[source]
    return np.asarray(distance, np.float32), near, near_colour


def _slope(values: FloatMap) -> FloatMap:
    across, down = (cv2.Sobel(values, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _mean(image: Pixels, radius: int) -> Pixels:
    return np.asarray(cv2.blur(image, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE), np.float32)


def _shrunk(image: Any, size: tuple[int, int]) -> Any:
    same = (image.shape[1], image.shape[0]) == size
    return image if same else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
