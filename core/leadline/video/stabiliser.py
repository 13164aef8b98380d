"""Depth that holds still over time, causal: every frame depends on itself and on those before it.

Two things flicker. A relative map has its own scale and shift in every frame; a robust fit to the frames before undoes that
(:mod:`leadline.video.aligner`). Metric frames stay in their metres, and the frames before are brought to them, so that a camera
that moves forward sees no depth of a moment ago. What is left differs from pixel to pixel: each point is
followed by optical flow, and where the frames agree about it they are averaged, weighted by their variances, as a Kalman
filter does. A point that was hidden, that moves in depth or that lies in another shot starts anew, so nothing lags and
nothing is carried over a cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from leadline.depth.alignment import median
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.types import BoolMap, FloatMap, RgbImage
from leadline.video.aligner import ScaleShift, scale_and_shift
from leadline.video.flow import Follower, Motion, warp
from leadline.video.tuned import STABILISER


@dataclass
class _Memory:
    """The film so far, as seen from its last frame."""

    values: FloatMap  # (H, W), on the film's scale
    small: FloatMap  # (h, w), the same on the grid of the flow
    variance: FloatMap  # (h, w), of the average, as if the frames' errors were independent; in units of one frame's without sigma
    change: FloatMap  # (h, w), by how much the last frame differed from what was expected
    still: BoolMap  # (h, w), where its picture had not changed before a still camera

    def carried(self, by: ScaleShift) -> _Memory:
        """The same from where the camera is now: a camera that moves forward by a metre takes a metre off every depth."""
        factor = np.float32(by.scale)
        return _Memory(
            by.apply(self.values), by.apply(self.small), self.variance * factor**2, self.change * factor, self.still
        )


class Stabiliser:
    """Feed predictions and their pictures in order; get steady predictions back.

    Args:
        least_gain: Least share of a new frame in the average, in (0, 1]; smaller is steadier, 1 only undoes scale and shift.
        flow_edge: Long edge, in pixels, of the pictures on which optical flow is computed.
    """

    def __init__(self, least_gain: float = STABILISER.least_gain, flow_edge: int = 256) -> None:
        if not 0 < least_gain <= 1:
            raise InputError(f"least_gain={least_gain}: it is a share between 0 and 1")
        self.least_gain, self.still_gain = least_gain, least_gain**2
        self._follower = Follower(flow_edge)
        self._memory: _Memory | None = None
        self._kind: tuple[object, ...] | None = None

    def reset(self) -> None:
        """Forget the film; the next frame is a first one."""
        self._follower.reset()
        self._memory, self._kind = None, None

    @property
    def variance(self) -> FloatMap | None:
        """float32 (h, w), of the last result on the grid of the flow, as if the errors of frames were independent; None before the first.

        In the unit of the values, squared; without uncertainty, 1 is what a single frame has.
        """
        return None if self._memory is None else self._memory.variance

    def step(self, prediction: DepthPrediction, rgb: RgbImage, variance: FloatMap | None = None) -> DepthPrediction:
        """The next frame, steady.

        Args:
            prediction: Depth of the frame, relative or metric.
            rgb: uint8 (h, w, 3), its picture; any size of the same aspect ratio.
            variance: Where the prediction is itself an average of frames, its :attr:`variance`; both sides then weigh what they
                know, and no gain is too small.

        Returns:
            The prediction on the scale of the frames before it and averaged with them where they agree. Its uncertainty, if
            there is one, is smaller there. ``meta["video"]`` says what was done: ``cut`` (nothing was used of the frames
            before), ``scale`` and ``shift`` that were applied, and ``followed``, the share of the picture found again.
        """
        kind = (prediction.shape, prediction.space, prediction.metric)
        motion = self._follower.follow(rgb)
        memory = self._memory if kind == self._kind else None
        self._kind = kind
        if memory is None or motion is None or _is_cut(motion):
            return self._start(prediction, rgb)
        before = warp(memory.small, motion.place)
        small = _shrunk(prediction.values, before.shape)
        fit = ScaleShift(1.0, 0.0, 0.0, False)
        steadiness = self.least_gain / (2.0 - self.least_gain) if variance is None else 1.0
        if prediction.metric:
            nearer = scale_and_shift(before, small, motion.seen, 1.0 / steadiness)
            if not nearer.cut:
                memory, before = memory.carried(nearer), nearer.apply(before)
        else:
            fit = scale_and_shift(small, before, motion.seen, steadiness)
            if fit.cut:
                return self._start(prediction, rgb)
        return self._continue(prediction, memory, motion, before, fit.apply(small), fit, variance)

    def _start(self, prediction: DepthPrediction, rgb: RgbImage) -> DepthPrediction:
        shape = self._follower.grid_size(*rgb.shape[:2])
        small = _shrunk(prediction.values, shape)
        variance = _variance(prediction, shape)
        self._memory = _Memory(prediction.values, small, variance, np.zeros(shape, np.float32), np.zeros(shape, bool))
        return _noted(prediction, ScaleShift(1.0, 0.0, 0.0, True), 0.0)

    def _continue(
        self,
        prediction: DepthPrediction,
        memory: _Memory,
        motion: Motion,
        before: FloatMap,
        small: FloatMap,
        fit: ScaleShift,
        variance: FloatMap | None,
    ) -> DepthPrediction:
        change = _filled(small - before, np.float32(0.0))
        noise = _variance(prediction, small.shape) if variance is None else variance
        if prediction.uncertainty is not None:
            noise = noise * np.float32(fit.scale**2) + np.float32(1e-20)
        held = _filled(warp(memory.variance, motion.place), noise)
        spread = np.sqrt(held + noise)
        surprise = (np.abs(change) / spread)[motion.seen]
        ratio = 1.4826 * median(surprise[::3]) if surprise.size else 1.0
        blurred = np.asarray(cv2.blur(change, (5, 5)), np.float32)
        agree = self._agreement(memory, motion, before, blurred, np.maximum(ratio * spread, np.float32(1e-12)))
        gain = held / (held + noise)
        if variance is None:
            np.maximum(gain, np.where(motion.still, np.float32(self.still_gain), np.float32(self.least_gain)), out=gain)
        gain = np.asarray(1.0 - agree * (1.0 - gain), np.float32)
        agreed = agree > 0

        values, sigma = self._blended(prediction, memory, motion, fit, gain, min(ratio, 1.0))
        left = np.where(agreed, gain * noise, noise)
        self._memory = _Memory(values, _shrunk(values, small.shape), left, blurred, motion.still)
        steady = replace(prediction, values=values, uncertainty=sigma)
        return _noted(steady, fit, float(agreed.mean()))

    def _agreement(
        self,
        memory: _Memory,
        motion: Motion,
        before: FloatMap,
        change: FloatMap,
        usual: FloatMap,
    ) -> FloatMap:
        """(h, w) in [0, 1]: 1 where old and new differ by no more than the frame's own noise, 0 where something really changed.

        The network errs in blobs that come and go, so where the picture says that this is the same point, a change in depth is
        believed when it stays for a second frame. Where the picture is not sure (it has no texture, or something moved), it is
        believed at once. ``usual`` is the size that a change has without being real.
        """
        earlier = warp(memory.change, motion.place)
        lasting = np.where(change * earlier > 0, np.minimum(np.abs(change), np.abs(earlier)), 0.0)
        elsewhere = np.abs(warp(memory.small, motion.place + motion.off) - before)
        plain = motion.alike & (elsewhere < usual)
        size, seen = np.abs(change), motion.seen
        doubted = ~seen | _belonging(size > STABILISER.noise_up_to * usual, ~seen)
        real = np.where(doubted, size, np.where(motion.still & memory.still, 0.0, lasting)) / usual
        agree = np.clip((STABILISER.real_from - real) / (STABILISER.real_from - STABILISER.noise_up_to), 0.0, 1.0)
        return (agree * (seen | plain)).astype(np.float32)

    def _blended(
        self,
        prediction: DepthPrediction,
        memory: _Memory,
        motion: Motion,
        fit: ScaleShift,
        gain: FloatMap,
        ratio: float,
    ) -> tuple[FloatMap, FloatMap | None]:
        """Values and sigma at full size. ``ratio``: how much of their sigmas the frames really differ by, at most 1."""
        height, width = prediction.shape
        share = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
        before = _followed(memory.values, motion.back)
        new = fit.apply(prediction.values)
        values = new - before
        values *= share
        values += before
        values = _filled(values, new)
        if prediction.uncertainty is None:
            return values, None
        # Only what the frames differ by can average out: errors that they share stay.
        share *= np.float32(ratio**2)
        share += np.float32(1.0 - ratio**2)
        sigma = np.sqrt(share, out=share)
        sigma *= prediction.uncertainty
        sigma *= np.float32(fit.scale)
        return values, sigma


def _variance(prediction: DepthPrediction, shape: tuple[int, ...]) -> FloatMap:
    """(h, w), of one frame; without sigma all pixels are alike, in units of a frame's own noise."""
    if prediction.uncertainty is None:
        return np.ones(shape[:2], np.float32)
    return np.asarray(_shrunk(prediction.uncertainty, shape) ** 2, np.float32)


def _followed(image: FloatMap, back: FloatMap) -> FloatMap:
    """``image`` (H, W) as it lies after the flow ``back`` (h, w, 2) of a smaller grid: float32 (H, W)."""
    (height, width), (rows, columns) = image.shape, back.shape[:2]
    across, down = cv2.split(back)
    x = cv2.resize(across * np.float32(width / columns), (width, height), interpolation=cv2.INTER_LINEAR)
    y = cv2.resize(down * np.float32(height / rows), (width, height), interpolation=cv2.INTER_LINEAR)
    x += np.arange(width, dtype=np.float32)
    y += np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _filled(image: FloatMap, by: FloatMap | np.float32) -> FloatMap:
    """``image`` (h, w) with ``by`` where it is not finite."""
    if np.isfinite(cv2.sumElems(image)[0]):
        return image
    return np.where(np.isfinite(image), image, by)


def _belonging(region: BoolMap, to: BoolMap) -> BoolMap:
    """The connected pieces of ``region`` (h, w) of which at least :attr:`STABILISER.piece_share` lies in ``to``."""
    if not region.any():
        return region
    count, piece = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    inside = np.asarray(piece[region], np.intp)
    whole = np.bincount(inside, minlength=count)
    share = np.bincount(inside[to[region]], minlength=count) / np.maximum(whole, 1)
    out = np.zeros_like(region)
    out[region] = (share >= STABILISER.piece_share)[inside]
    return out


def _is_cut(motion: Motion) -> bool:
    return bool(motion.seen.mean() < STABILISER.cut_seen and motion.alike.mean() < STABILISER.cut_alike)


def _shrunk(image: FloatMap, shape: tuple[int, ...]) -> FloatMap:
    height, width = shape[:2]
    if image.shape == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _noted(prediction: DepthPrediction, fit: ScaleShift, followed: float) -> DepthPrediction:
    video = {"cut": fit.cut, "scale": fit.scale, "shift": fit.shift, "followed": round(followed, 4)}
    return replace(prediction, meta={**prediction.meta, "video": video})
