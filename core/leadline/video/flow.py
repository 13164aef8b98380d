"""Where the points of a frame were in the frame before: dense optical flow with its own check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import median, robust_least_squares
from leadline.errors import InputError
from leadline.types import BoolMap, FloatMap, RgbImage
from leadline.video.tuned import ALIGNER, FLOW

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """Between two frames, on the grid of (h, w) pixels on which flow is computed.

    Attributes:
        back: float32 (h, w, 2): pixel p of the later frame was at p + back in the earlier one.
        place: float32 (h, w, 2): p + back.
        off: float32 (h, w, 2): how far from p the way there and home again ends.
        alike: bool (h, w): what is there looks like it, and lies inside the picture.
        still: bool (h, w): the camera stands still, and neither here nor around has the picture changed; ``back`` is 0.
    """

    back: FloatMap
    place: FloatMap
    off: FloatMap
    alike: BoolMap
    still: BoolMap

    @cached_property
    def seen(self) -> BoolMap:
        """bool (h, w): the point was visible in the earlier frame."""
        limit = FLOW.disagreement_px + FLOW.disagreement_share * _length(self.back)
        return np.asarray(self.alike & (_length(self.off) < limit))


def pixel_grid(height: int, width: int) -> FloatMap:
    """float32 (H, W, 2): x and y of every pixel."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    return grid


def warp(image: FloatMap, place: FloatMap) -> FloatMap:
    """What ``image`` (h, w) shows at places (H, W, 2), as x and y; bilinear, edges repeated: float32 (H, W)."""
    # Both coordinates are in the first map, which the type stubs do not know.
    warped = cv2.remap(image, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(warped, np.float32)


def _length(vectors: FloatMap) -> FloatMap:
    return np.asarray(cv2.magnitude(*cv2.split(vectors)), np.float32)


def _zero(grey: Grey) -> FloatMap:
    return np.zeros((*grey.shape, 2), np.float32)


class Follower:
    """Flow from each frame to the one before it.

    Args:
        long_edge: Flow is computed on pictures of this many pixels, or of the frame's own if that is less.
    """

    def __init__(self, long_edge: int = 256) -> None:
        self.long_edge = long_edge
        self._solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: Grey | None = None
        self._grid = pixel_grid(1, 1)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) on which the flow of frames of this size is computed."""
        factor = min(1.0, self.long_edge / max(height, width))
        return max(8, round(height * factor)), max(8, round(width * factor))

    def reset(self) -> None:
        """The next frame is a first one."""
        self._before = None

    def follow(self, rgb: RgbImage) -> Motion | None:
        """The motion since the frame before; None for a first frame or one of another size.

        Args:
            rgb: uint8 (H, W, 3).

        Raises:
            InputError: Not such a picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(f"a frame is uint8 (H, W, 3), not {rgb.dtype} {rgb.shape}")
        height, width = self.grid_size(*rgb.shape[:2])
        now = _reduced(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), width, height)
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            return None
        if self._grid.shape[:2] != now.shape:
            self._grid = pixel_grid(height, width)
        back = np.asarray(self._solver.calc(now, before, _zero(now)), np.float32)
        forth = np.asarray(self._solver.calc(before, now, _zero(now)), np.float32)
        place = np.asarray(cv2.add(self._grid, back), np.float32)
        off = np.asarray(cv2.add(back, warp(forth, place)), np.float32)
        inside = cv2.inRange(place, (-0.5, -0.5), (width - 0.5, height - 0.5)) > 0
        then = before.astype(np.float32)
        gain, offset = _exposure(now, then, place)
        exposed = then * gain + offset
        still = _still(now, exposed, back)
        if still.any():
            back[still] = off[still] = 0.0
            place[still] = self._grid[still]
        alike = _difference(now, warp(exposed, place)) < FLOW.looks_different
        return Motion(back, place, off, np.asarray(inside & alike), still)


def _reduced(grey: Grey, width: int, height: int) -> Grey:
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _still(now: Grey, before: FloatMap, back: FloatMap) -> BoolMap:
    """Where nothing moves before a still camera; nowhere if most of what is textured changed or moved one way."""
    changed = _difference(now, before) > FLOW.still_differs
    across, down = (cv2.Sobel(before, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    slope = cv2.magnitude(across, down)
    textured = slope > np.percentile(slope[::4, ::4], FLOW.textured_percentile)
    kept, count = textured & ~changed, np.count_nonzero(textured)
    if count == 0 or count - np.count_nonzero(kept) > FLOW.camera_changes * count:
        return np.zeros(now.shape, bool)
    if max(abs(median(back[..., axis][kept])) for axis in (0, 1)) > FLOW.camera_moves_px:
        return np.zeros(now.shape, bool)
    around = cv2.blur(changed.astype(np.float32), (2 * FLOW.still_reach + 1,) * 2)
    return np.asarray(around < FLOW.still_share)


def _difference(now: Grey, was: FloatMap) -> FloatMap:
    """Grey levels between neighbourhoods of 3×3."""
    return np.abs(cv2.blur(cv2.subtract(now, was, dtype=cv2.CV_32F), (3, 3)))


def _exposure(now: Grey, before: FloatMap, place: FloatMap) -> tuple[np.float32, np.float32]:
    """Gain and offset of the line through most pairs of a point's grey levels, whatever came into view."""
    step = max(1, int(np.sqrt(now.size / ALIGNER.points)))
    was = warp(before, np.ascontiguousarray(place[::step, ::step]))
    x, y = was.ravel().astype(np.float64), now[::step, ::step].ravel().astype(np.float64)
    line = robust_least_squares(x, y, pairs=ALIGNER.lines, judged_on=ALIGNER.judged, passes=ALIGNER.passes)
    gain = float(np.clip(line[0], 0.5, 2.0)) if line else 1.0
    return np.float32(gain), np.float32(median(y - gain * x))
