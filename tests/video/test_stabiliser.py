"""The stabiliser on films whose depth, flow and cuts are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import permutations

import cv2
import known_films as films
import numpy as np
import pytest

from leadline import DepthPrediction, InputError, Space
from leadline.evaluation.video import lag_frames
from leadline.scenes import FilmFrame, render_film
from leadline.scenes.film import FILM_LAYOUTS
from leadline.video.stabiliser import Stabiliser

SIZE = (96, 128)


@pytest.fixture(scope="module")
def walk() -> list[FilmFrame]:
    return list(render_film(21, 10, *SIZE, layout="corridor", path="walk", supersample=1.0, exposure=0.3))


def steady(frames: list[FilmFrame], predictions: list[DepthPrediction], **options: float) -> list[DepthPrediction]:
    stabiliser = Stabiliser(**options)
    return [stabiliser.step(p, f.rgb) for p, f in zip(predictions, frames, strict=True)]


def test_temporal_error_falls_and_accuracy_does_not(walk):
    raw = films.flickering(walk)
    scaled = steady(walk, raw, least_gain=1.0)
    out = steady(walk, raw)
    error, scaled_error, steady_error = (films.errors(walk, [p.values for p in m]) for m in (raw, scaled, out))
    assert steady_error[0] < 0.5 * error[0]
    assert steady_error[0] < 0.65 * scaled_error[0]
    assert steady_error[1] < error[1]


def test_what_steps_is_seen_at_once():
    frames = list(render_film(11, 10, *SIZE, layout="corridor", path="still", movers=1, step_at=5, supersample=1.0))
    raw = films.flickering(frames, noise=0.03)
    out = steady(frames, raw)
    place = frames[-1].moving
    a, b = np.polyfit(out[0].values[~place], films.truth(frames[0])[~place], 1)
    response = [float((a * p.values + b)[place].mean()) for p in out]
    assert lag_frames(response, 5, share=0.8) <= 1
    assert response[-1] == pytest.approx(float(films.truth(frames[-1])[place].mean()), abs=0.1)


def test_nothing_is_carried_over_a_cut():
    frames = list(render_film(2, 6, *SIZE, shots=2, supersample=1.0))
    raw = films.flickering(frames)
    out = steady(frames, raw)
    assert [p.meta["video"]["cut"] for p in out] == [True, False, False, True, False, False]
    np.testing.assert_array_equal(out[3].values, raw[3].values)
    alone = steady(frames[3:], raw[3:])
    for here, there in zip(out[3:], alone, strict=True):
        np.testing.assert_array_equal(here.values, there.values)


@cache
def stepped(seed: int) -> list[FilmFrame]:
    """A person comes close between two frames."""
    options = {"layout": "corridor", "path": "still", "movers": 1, "step_at": 4, "supersample": 1.0}
    return list(render_film(seed, 8, *SIZE, **options))


@pytest.mark.parametrize("seed", [9205, 9605])  # in the first the camera's exposure answers
def test_a_thing_that_steps_is_no_cut_and_is_believed_whole(seed):
    frames = stepped(seed)
    out = steady(frames, films.flickering(frames, noise=0.02))
    assert [p.meta["video"]["cut"] for p in out] == [True] + [False] * 7
    now, before = films.truth(frames[4]), films.truth(frames[3])
    place = frames[4].moving & (np.abs(now - before) > 0.3)
    still = ~frames[4].moving & ~frames[3].moving
    slope, shift = np.polyfit(out[4].values[still], now[still], 1)
    through = (slope * out[4].values + shift - before)[place] / (now - before)[place]
    assert (through > 0.7).mean() > 0.97


def test_what_stands_still_before_a_still_camera_is_held_when_the_network_changes_its_mind():
    """The network sees the background otherwise as soon as somebody stands before it, and stays with that."""
    frames, rng = stepped(9005), np.random.default_rng(5)
    minds = 0.1 * films.blobs(rng, SIZE, 8.0), 0.1 * films.blobs(rng, SIZE, 8.0)
    raw = [
        DepthPrediction((films.truth(f) + minds[i >= 4]).astype(np.float32), films.SPACE) for i, f in enumerate(frames)
    ]
    scaled, out = steady(frames, raw, least_gain=1.0), steady(frames, raw)
    scaled_error, steady_error = (films.errors(frames, [p.values for p in m])[0] for m in (scaled, out))
    assert steady_error < 0.65 * scaled_error


def test_a_camera_that_turns_very_slowly_does_not_stand_still():
    """A tenth of a pixel a frame hardly changes the picture; depth must follow it all the same."""
    frame = stepped(9605)[0]
    true, out, stabiliser = films.truth(frame), [], Stabiliser()
    for number in range(40):
        shift = np.float32([[1, 0, -0.1 * number], [0, 1, 0]])
        rgb, values = (cv2.warpAffine(image, shift, SIZE[::-1]) for image in (frame.rgb, true))
        out.append(stabiliser.step(DepthPrediction(values, films.SPACE), rgb).values)
    seen = np.s_[4:-4, 4:-12]
    blurred = cv2.GaussianBlur(values, (0, 0), 1)[seen]  # the last frame, resampled as often
    assert np.abs(out[-1][seen] - values[seen]).mean() < 1.5 * np.abs(blurred - values[seen]).mean()


def test_every_other_scene_is_a_cut():
    shown = [next(iter(render_film(7, 1, *SIZE, layout=name, path="still", supersample=1.0))) for name in FILM_LAYOUTS]
    found = [steady([a, b], films.flickering([a, b]))[1].meta["video"]["cut"] for a, b in permutations(shown, 2)]
    assert all(found)


def metric(frames: list[FilmFrame], noise: float) -> list[DepthPrediction]:
    rng = np.random.default_rng(3)
    sigma = noise * np.exp(films.truth(frames[0]))
    return [
        DepthPrediction(
            (np.exp(films.truth(f)) + sigma * films.blobs(rng, SIZE, 4.0)).astype(np.float32),
            Space.DEPTH,
            uncertainty=sigma.astype(np.float32),
            metric=True,
        )
        for f in frames
    ]


def test_metric_frames_stay_in_metres_and_sigma_tells_the_truth():
    frames = list(render_film(4, 8, *SIZE, layout="room", path="still", movers=0, supersample=1.0))
    raw = metric(frames, 0.05)
    out = steady(frames, raw)
    assert all(p.metric and p.meta["video"]["scale"] == 1.0 for p in out)
    off, before = (np.abs(m[-1].values - np.exp(films.truth(frames[-1]))) for m in (out, raw))
    assert off.mean() < 0.6 * before.mean()
    assert (out[-1].uncertainty <= raw[-1].uncertainty * 1.0001).all()
    assert out[-1].uncertainty.mean() < 0.75 * raw[-1].uncertainty.mean()
    covered = float((off < out[-1].uncertainty).mean())
    assert 0.55 < covered < 0.95  # one standard deviation holds 68 %


def test_a_camera_that_comes_nearer_sees_no_depth_of_a_moment_ago():
    """A camera far from a scene moves forward: the picture hardly changes, and every depth falls by a tenth of a metre."""
    frame = next(iter(render_film(4, 1, *SIZE, layout="room", path="still", movers=0, supersample=1.0)))
    true, rng = np.exp(films.truth(frame)), np.random.default_rng(0)
    stabiliser = Stabiliser()
    for number in range(6):
        now = (true + 2.0 - 0.1 * number).astype(np.float32)
        raw = now + np.float32(0.05) * films.blobs(rng, SIZE, 4.0)
        sigma = np.full(SIZE, 0.05, np.float32)
        out = stabiliser.step(DepthPrediction(raw, Space.DEPTH, uncertainty=sigma, metric=True), frame.rgb)
    assert abs(float((out.values - now).mean())) < 0.02
    assert float(np.abs(out.values - now).mean()) < 0.75 * float(np.abs(raw - now).mean())


def test_errors_that_all_frames_share_do_not_leave_sigma():
    frames = list(render_film(4, 6, *SIZE, layout="room", path="still", movers=0, supersample=1.0))
    one = metric(frames[:1], 0.1)[0]
    out = steady(frames, [one] * 6)
    np.testing.assert_allclose(out[-1].uncertainty, one.uncertainty, rtol=1e-3)


def test_a_hole_is_neither_filled_from_the_past_nor_spread(walk):
    raw = films.flickering(walk)
    holed = raw[3].values.copy()
    holed[20:40, 30:60] = np.nan
    raw[3] = replace(raw[3], values=holed)
    out = steady(walk, raw)
    assert np.isnan(out[3].values[22:38, 32:58]).all()
    assert np.isfinite(out[3].values).mean() > 0.7
    assert np.isfinite(out[4].values).all()


def test_another_size_or_space_begins_anew(walk):
    raw = films.flickering(walk)
    stabiliser = Stabiliser()
    stabiliser.step(raw[0], walk[0].rgb)
    other = replace(raw[1], space=Space.DISPARITY)
    np.testing.assert_array_equal(stabiliser.step(other, walk[1].rgb).values, other.values)
    smaller = replace(other, values=np.ascontiguousarray(other.values[::2, ::2]))
    np.testing.assert_array_equal(stabiliser.step(smaller, walk[1].rgb).values, smaller.values)
    stabiliser.reset()
    assert stabiliser.step(smaller, walk[1].rgb).meta["video"]["cut"]


def test_what_is_no_picture_is_refused(walk):
    with pytest.raises(InputError, match="uint8"):
        Stabiliser().step(films.flickering(walk[:1])[0], np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="least_gain"):
        Stabiliser(least_gain=0)


def test_it_needs_no_torch():
    code = "import sys, leadline.video.stabiliser; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
