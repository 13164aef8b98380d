"""Edges and steady maps in a stream: what they change in the metres that come out."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import known_films as films
import numpy as np
import pytest
import torch

from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.evaluation.video import temporal_error
from leadline.inference.refine.edges import snap_edges
from leadline.scenes import FilmFrame, render_film, render_scenes
from leadline.streaming.frames import Frame
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.settings import StreamSettings

SIZE = (96, 128)


def pipeline() -> DepthPipeline:
    """One whose network nobody asks: maps are given to it."""
    return DepthPipeline(SimpleNamespace(devices=[torch.device("cpu")]), StreamSettings())  # type: ignore[arg-type]


def stream(frames: list[FilmFrame], settings: StreamSettings, given: DepthPipeline | None = None) -> list[np.ndarray]:
    """Metres of each frame, with some 50 measured points in each."""
    rng, made, out = np.random.default_rng(1), given or pipeline(), []
    for number, (frame, raw) in enumerate(zip(frames, films.flickering(frames), strict=True)):
        points = np.where(frame.valid & (rng.random(SIZE) < 50 / np.prod(SIZE)), frame.depth_m, 0.0)
        seen = Frame(number * 100_000_000, frame.rgb, sparse_depth_m=points.astype(np.float32))
        out.append(made.finish(seen, raw, settings).depth_m)
    return out


def scores(frames: list[FilmFrame], metres: list[np.ndarray]) -> tuple[float, float]:
    """Temporal error and AbsRel."""
    known = [np.where(np.isfinite(m), m, 200.0) for m in metres]
    steps = [
        temporal_error(known[i], known[i - 1], frames[i].depth_m, frames[i - 1].depth_m, frames[i].flow, frames[i].seen)
        for i in range(1, len(frames))
    ]
    off = [np.mean(np.abs(m - f.depth_m)[f.valid] / f.depth_m[f.valid]) for m, f in zip(known, frames, strict=True)]
    return float(np.mean([s for s in steps if s is not None])), float(np.mean(off))


@pytest.fixture(scope="module")
def walk() -> list[FilmFrame]:
    return list(render_film(21, 8, *SIZE, layout="corridor", path="walk", supersample=1.0))


def test_steady_metres_flicker_less_and_are_no_less_right(walk):
    plain = scores(walk, stream(walk, StreamSettings()))
    steady = scores(walk, stream(walk, StreamSettings(steady=True)))
    assert steady[0] < 0.75 * plain[0]
    assert steady[1] < plain[1]


def test_a_reset_and_another_stream_begin_anew(walk):
    made, steady = pipeline(), StreamSettings(steady=True)
    first = stream(walk[:3], steady, made)
    made.reset()
    again = stream(walk[:3], steady, made)
    for here, there in zip(first, again, strict=True):
        np.testing.assert_array_equal(here, there)
    raw = films.flickering(walk[:2])
    results = [made.finish(Frame(0, f.rgb), r, steady, "other") for f, r in zip(walk[:2], raw, strict=True)]
    assert [r.raw.meta["video"]["cut"] for r in results] == [True, False]


def test_without_points_the_relative_map_is_steady(walk):
    made, steady = pipeline(), StreamSettings(steady=True)
    raw = films.flickering(walk)
    out = [made.finish(Frame(n, f.rgb), r, steady).raw.values for n, (f, r) in enumerate(zip(walk, raw, strict=True))]
    assert films.errors(walk, out)[0] < 0.5 * films.errors(walk, [r.values for r in raw])[0]


def test_edges_are_those_of_the_image():
    scene = render_scenes(9100, 1, 192, 256, layout="room")
    rgb = scene.rgb[0].numpy()
    true = np.where(scene.valid[0], scene.depth_m[0], 60.0).astype(np.float32)
    soft = films.SPACE.from_depth(true).astype(np.float32)
    soft = np.ascontiguousarray(np.kron(soft[::4, ::4], np.ones((4, 4))), np.float32)
    soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), 3.0), np.float32)
    raw = DepthPrediction(soft, films.SPACE)
    sharp = pipeline().finish(Frame(0, rgb), raw, StreamSettings(detail="edges")).raw
    np.testing.assert_array_equal(sharp.values, snap_edges(soft, rgb).values)
    assert sharp.meta["edge_pixels"] > 500
    assert pipeline().finish(Frame(0, rgb), raw, StreamSettings()).raw is raw


def test_tiles_are_not_for_streams():
    with pytest.raises(InputError, match="detail"):
        StreamSettings(detail="tiles")
