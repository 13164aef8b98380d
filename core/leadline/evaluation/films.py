"""Depth over time on rendered films: each frame by itself, on one scale, steadied, and steadied with a look ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from leadline.depth.alignment import align
from leadline.depth.prediction import DepthPrediction
from leadline.evaluation.video import flicker, lag_frames, opw, pose_error, temporal_error
from leadline.scenes import FilmFrame, render_film
from leadline.types import FloatMap, Floats, RgbImage
from leadline.video.look_ahead import looking_ahead
from leadline.video.stabiliser import Stabiliser
from leadline.video.tuned import STABILISER

Predict = Callable[[RgbImage], DepthPrediction]

#: Frames to come that the last way depends on.
LOOK_AHEAD = 4
#: How the frames are steadied: least gain of the stabiliser (1 undoes scale and shift only; None: not at all), and frames to come.
WAYS: dict[str, tuple[float | None, int]] = {
    "frame by frame": (None, 0),
    "scale and shift": (1.0, 0),
    "steady": (STABILISER.least_gain, 0),
    "look ahead": (STABILISER.least_gain, LOOK_AHEAD),
}
#: What is filmed: (name, options of render_film). An object steps in the last one, half way.
FILMS: tuple[tuple[str, dict[str, object]], ...] = (
    ("room", {"layout": "room", "path": "walk", "exposure": 0.3}),
    ("street", {"layout": "street", "path": "forward"}),
    ("workshop", {"layout": "workshop", "path": "sideways"}),
    ("cut", {"shots": 2}),
    ("step", {"layout": "corridor", "path": "still", "movers": 1}),
)


@dataclass(frozen=True)
class FilmScore:
    """Means over the frames of one film.

    Attributes:
        film, way: Which.
        absrel: Of single frames, each aligned to its truth.
        temporal: :func:`~leadline.evaluation.video.temporal_error`, the film's shots aligned once each.
        pose: :func:`~leadline.evaluation.video.pose_error` over what stands still.
        opw: :func:`~leadline.evaluation.video.opw` of the maps, as a share of their range.
        flicker: :func:`~leadline.evaluation.video.flicker`, which knows no truth.
        lag: Frames until a step of an object came through; None where none steps.
    """

    film: str
    way: str
    absrel: float
    temporal: float
    pose: float
    opw: float
    flicker: float
    lag: int | None


def score_films(predict: Predict, seed: int, frames: int, height: int, width: int) -> Iterator[FilmScore]:
    """Scores of every film and way, film by film.

    Args:
        predict: The model.
        seed: Of the films.
        frames: Of each film.
        height, width: Pixels.
    """
    for number, (name, options) in enumerate(FILMS):
        step = frames // 2 if name == "step" else None
        film = list(render_film(seed + number, frames, height, width, step_at=step, supersample=1.0, **options))  # type: ignore[arg-type]
        raw = [predict(frame.rgb) for frame in film]
        for way, (gain, ahead) in WAYS.items():
            steady = [] if gain is None else looking_ahead(zip(film, raw, strict=True), Stabiliser(gain), ahead)
            maps = [prediction for _, prediction in steady] or raw
            yield _score(name, way, film, maps, step)


def _score(
    film: str, way: str, frames: Sequence[FilmFrame], maps: Sequence[DepthPrediction], step: int | None
) -> FilmScore:
    metres = _aligned_by_shot(frames, maps)
    truth = [np.where(frame.valid, frame.depth_m, 0.0) for frame in frames]
    single = [align(p.values, t, p.space).apply(p.values) for p, t in zip(maps, truth, strict=True)]
    off = [
        np.mean((np.abs(d - t) / np.maximum(t, 1e-9))[f.valid]) for d, t, f in zip(single, truth, frames, strict=True)
    ]
    low, high = np.percentile(np.stack([p.values[::4, ::4] for p in maps]), [2, 98])
    temporal, pose, warped = [], [], []
    for i, (before, now) in enumerate(pairwise(frames), start=1):
        if now.shot != before.shot:
            continue
        temporal.append(temporal_error(metres[i], metres[i - 1], truth[i], truth[i - 1], now.flow, now.seen))
        still = now.valid & before.valid & ~now.moving & ~before.moving
        pose.append(
            pose_error(metres[i], metres[i - 1], now.intrinsics, now.camera_to_world, before.camera_to_world, still)
        )
        change = opw(maps[i].values, maps[i - 1].values, now.rgb, before.rgb, now.flow, now.seen)
        warped.append(None if change is None else change / float(high - low))
    lag = None
    if step is not None and frames[-1].moving.any():
        lag = lag_frames([float(np.median(m[frames[-1].moving])) for m in metres], step)
    unknown = flicker([p.values for p in maps], [f.rgb for f in frames]).mean
    return FilmScore(film, way, float(np.mean(off)), _mean(temporal), _mean(pose), _mean(warped), unknown or 0.0, lag)


def _aligned_by_shot(frames: Sequence[FilmFrame], maps: Sequence[DepthPrediction]) -> list[Floats]:
    """Metres of every frame, with one scale and shift for all frames of a shot."""
    metres: list[Floats] = []
    for shot in sorted({frame.shot for frame in frames}):
        mine = [i for i, frame in enumerate(frames) if frame.shot == shot]
        values: FloatMap = np.concatenate([maps[i].values for i in mine])
        depth = np.concatenate([np.where(frames[i].valid, frames[i].depth_m, 0.0) for i in mine])
        fit = align(values, depth, maps[mine[0]].space)
        metres.extend(fit.apply(maps[i].values, max_depth_m=400.0) for i in mine)
    return metres


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
