"""Detail from tiles: the structure of the whole picture, and what the network sees when it looks closer.

A network at its best size knows how a scene is laid out and blurs its details; the same network on a part of the picture sees
the details and guesses the layout. Each overlapping tile is brought to the scale of the whole by a robust least-squares fit in
the model's space; then only what is finer than the whole map can show is taken from it, and seams are feathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import robust_least_squares
from leadline.inference.tuned import TILES
from leadline.types import FloatMap, RgbImage

#: Maps of tiles, in the model's space.
PredictTiles = Callable[[list[RgbImage]], list[FloatMap]]


def add_detail(whole: FloatMap, rgb: RgbImage, size: int, predict: PredictTiles) -> tuple[FloatMap, int]:
    """The map of a picture with detail from its tiles, and how many tiles were used.

    Memory beside the arguments is a few maps of ``whole``'s size, whatever the number of tiles.

    Args:
        whole: float32 (H, W), the network's map of the whole picture.
        rgb: uint8 (H, W, 3), the picture.
        size: Long edge in pixels at which the network saw the whole picture; tiles have it, too.
        predict: Maps of tiles, each of its tile's size.
    """
    factor = min(1.0, TILES.closer * size / max(whole.shape))
    if factor * max(whole.shape) < TILES.least_closer * size:
        return whole, 0
    height, width = (max(1, round(side * factor)) for side in whole.shape)
    picture = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    coarse = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    total, weights, used = np.zeros_like(coarse), np.full_like(coarse, TILES.fade), 0
    places = list(_places(height, width, size))
    for first in range(0, len(places), TILES.at_once):
        now = places[first : first + TILES.at_once]
        for place, tile in zip(now, predict([np.ascontiguousarray(picture[p]) for p in now]), strict=True):
            detail = _detail(tile, coarse[place])
            if detail is None:
                continue
            feather = _feather(*tile.shape)
            total[place] += feather * detail
            weights[place] += feather
            used += 1
    finer = cv2.resize(total / weights, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(whole, finer), np.float32), used


def _places(height: int, width: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of ``size``, or of the picture if that is smaller, that overlap by half or a little more."""

    def starts(length: int) -> list[int]:
        room = length - min(size, length)
        return [round(x) for x in np.linspace(0, room, int(np.ceil(room / (size / 2))) + 1)]

    for top in starts(height):
        for left in starts(width):
            yield slice(top, top + min(size, height)), slice(left, left + min(size, width))


def _detail(tile: FloatMap, coarse: FloatMap) -> FloatMap | None:
    """What the tile shows beyond ``coarse``, on its scale; None if the two do not agree."""
    step = max(1, int(np.sqrt(tile.size / 4000)))
    x, y = (one[::step, ::step].ravel().astype(np.float64) for one in (tile, coarse))
    fit = robust_least_squares(x, y, pairs=200, judged_on=1000)
    spread = float(np.subtract(*np.percentile(y, [90, 10])))
    if (
        fit is None
        or fit[0] <= 0
        or spread <= 0
        or np.median(np.abs(fit[0] * x + fit[1] - y)) > TILES.worst_fit * spread
    ):
        return None
    difference = (np.float32(fit[0]) * tile + np.float32(fit[1]) - coarse).astype(np.float32)
    sigma = TILES.structure_share * max(tile.shape)
    return np.asarray(difference - cv2.GaussianBlur(difference, (0, 0), sigma), np.float32)


def _feather(height: int, width: int) -> npt.NDArray[np.float32]:
    """Weights that fall to nearly nothing at the tile's border."""
    down, across = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width))
    return (np.outer(down, across) + 1e-4).astype(np.float32)
