"""Steady depth of films that are at hand: each frame also depends on those after it.

A causal filter has only seen half of what a film says about a point. Here the frames to come are filtered backwards, and where
that agrees with the causal result for the frame, the two are averaged, each with the weight of the frames it has seen. All that guards the causal filter
guards this one: cuts, hidden points and what moves by itself take nothing from the frames to come, so nothing comes early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.types import FloatMap, RgbImage
from leadline.video.stabiliser import Stabiliser


class _Framed(Protocol):
    @property
    def rgb(self) -> RgbImage: ...


F = TypeVar("F", bound=_Framed)


def looking_ahead(
    frames: Iterable[tuple[F, DepthPrediction]], stabiliser: Stabiliser, look_ahead: int
) -> Iterator[tuple[F, DepthPrediction]]:
    """Frames of a film with steady depth; each comes ``look_ahead`` frames late, the last ones at the end.

    Args:
        frames: In order, with the model's own depth; a frame has its picture as ``rgb``.
        stabiliser: In the state of the frame before the first.
        look_ahead: How many frames to come each depends on; each costs one step of a stabiliser more. 0: none, causal.

    Raises:
        InputError: ``look_ahead`` is negative.
    """
    if look_ahead < 0:
        raise InputError(f"look_ahead={look_ahead}: a film cannot depend on fewer than 0 frames to come")
    waiting: deque[tuple[F, DepthPrediction, DepthPrediction, FloatMap | None]] = deque()

    def first() -> tuple[F, DepthPrediction]:
        frame, _, steady, variance = waiting.popleft()
        return frame, with_later(steady, frame.rgb, [(raw, later.rgb) for later, raw, *_ in waiting], variance)

    for frame, raw in frames:
        waiting.append((frame, raw, stabiliser.step(raw, frame.rgb), stabiliser.variance))
        if len(waiting) > look_ahead:
            yield first()
    while waiting:
        yield first()


def with_later(
    steady: DepthPrediction,
    rgb: RgbImage,
    later: Sequence[tuple[DepthPrediction, RgbImage]],
    variance: FloatMap | None,
) -> DepthPrediction:
    """A frame's causal result averaged with what the frames after it say, on its own scale.

    Args:
        steady: What :meth:`Stabiliser.step` gave.
        rgb: uint8 (h, w, 3), its picture.
        later: The model's own depth of the frames after it, in order, and their pictures.
        variance: What :attr:`Stabiliser.variance` was after that step; None: ``steady`` is as uncertain as a single frame.

    Returns:
        ``steady`` if there are none, or if the next one lies behind a cut. ``meta["video"]["look_ahead"]`` is the number of frames.
    """
    if not later:
        return steady
    backwards = Stabiliser()
    for raw, picture in reversed(later):
        backwards.step(raw, picture)
    both = backwards.step(steady, rgb, variance)
    found = both.meta["video"]
    if found["cut"]:
        return steady
    scale, shift = np.float32(found["scale"]), np.float32(found["shift"])  # to the later frames' scale; undone
    sigma = None if both.uncertainty is None else both.uncertainty / scale
    video = {**steady.meta["video"], "look_ahead": len(later)}
    return replace(
        steady, values=(both.values - shift) / scale, uncertainty=sigma, meta={**steady.meta, "video": video}
    )
