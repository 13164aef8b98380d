"""Looking ahead in films whose depth, flow, steps and cuts are known."""

from __future__ import annotations

import known_films as films
import numpy as np
import pytest

from leadline import DepthPrediction, InputError, Space
from leadline.evaluation.video import lag_frames
from leadline.scenes import FilmFrame, render_film
from leadline.video.look_ahead import looking_ahead, with_later
from leadline.video.stabiliser import Stabiliser

SIZE = (96, 128)


def ahead(frames: list[FilmFrame], raw: list[DepthPrediction], look_ahead: int) -> list[DepthPrediction]:
    out = list(looking_ahead(zip(frames, raw, strict=True), Stabiliser(), look_ahead))
    assert [id(frame) for frame, _ in out] == [id(frame) for frame in frames]
    return [prediction for _, prediction in out]


@pytest.mark.parametrize(("seed", "layout", "path"), [(21, "corridor", "walk"), (6, "workshop", "sideways")])
def test_steadier_than_causal_and_no_less_right(seed, layout, path):
    frames = list(render_film(seed, 10, *SIZE, layout=layout, path=path, supersample=1.0))
    raw = films.flickering(frames)
    causal, both = (films.errors(frames, [p.values for p in ahead(frames, raw, count)]) for count in (0, 4))
    assert both[0] < 0.92 * causal[0]
    assert both[1] < causal[1]


@pytest.mark.parametrize("seed", [9005, 9305])
def test_steadier_than_causal_before_a_still_camera(seed):
    """There the causal filter remembers far more frames than lie ahead: each side weighs what it has seen."""
    options = {"layout": "corridor", "path": "still", "movers": 1, "step_at": 5, "supersample": 1.0}
    frames, rng = list(render_film(seed, 10, *SIZE, **options)), np.random.default_rng(5)
    minds = 0.1 * films.blobs(rng, SIZE, 8.0), 0.1 * films.blobs(rng, SIZE, 8.0)
    noise = [0.02 * films.blobs(rng, SIZE, 8.0) for _ in frames]
    wrong = [films.truth(f) + minds[i >= 5] + noise[i] for i, f in enumerate(frames)]
    raw = [DepthPrediction(values.astype(np.float32), films.SPACE) for values in wrong]
    causal, both = (films.errors(frames, [p.values for p in ahead(frames, raw, count)])[0] for count in (0, 4))
    assert both < 0.85 * causal


def test_none_is_the_causal_filter():
    frames = list(render_film(21, 4, *SIZE, layout="corridor", path="walk", supersample=1.0))
    raw, stabiliser = films.flickering(frames), Stabiliser()
    for one, frame, out in zip(raw, frames, ahead(frames, raw, 0), strict=True):
        np.testing.assert_array_equal(stabiliser.step(one, frame.rgb).values, out.values)
    with pytest.raises(InputError, match="look_ahead"):
        ahead(frames, raw, -1)


def test_a_step_comes_through_at_once_and_not_early():
    frames = list(render_film(11, 12, *SIZE, layout="corridor", path="still", movers=1, step_at=6, supersample=1.0))
    out = ahead(frames, films.flickering(frames, noise=0.03), 4)
    place = frames[-1].moving & ~frames[0].moving
    a, b = np.polyfit(out[0].values[~place], films.truth(frames[0])[~place], 1)
    response = [float((a * p.values + b)[place].mean()) for p in out]
    assert lag_frames(response, 6, share=0.8) == 0
    whole = np.mean(response[6:]) - np.mean(response[:4])
    assert max(abs(one - np.mean(response[:4])) for one in response[4:6]) < 0.15 * abs(whole)


def test_nothing_crosses_a_cut_in_either_direction():
    frames = list(render_film(2, 6, *SIZE, shots=2, supersample=1.0))
    raw = films.flickering(frames)
    out = ahead(frames, raw, 4)
    for shot in (slice(0, 3), slice(3, 6)):
        for here, there in zip(out[shot], ahead(frames[shot], raw[shot], 4), strict=True):
            np.testing.assert_array_equal(here.values, there.values)
    assert [p.meta["video"]["cut"] for p in out] == [True, False, False, True, False, False]
    assert "look_ahead" not in out[2].meta["video"]


def test_it_stays_on_the_films_scale_and_sigma_shrinks():
    frame = next(iter(render_film(4, 1, *SIZE, layout="room", path="still", movers=0, supersample=1.0)))
    true, rng = films.truth(frame), np.random.default_rng(0)
    sigma = np.full(SIZE, 0.08, np.float32)

    def made(scale: float, shift: float) -> DepthPrediction:
        wrong = true + 0.08 * films.blobs(rng, SIZE, 4.0)
        return DepthPrediction((wrong * scale + shift).astype(np.float32), Space.LOG_DEPTH, uncertainty=sigma * scale)

    first, later = made(1.0, 0.0), [(made(3.0, -2.0), frame.rgb) for _ in range(4)]
    stabiliser = Stabiliser()
    steady = stabiliser.step(first, frame.rgb)
    out = with_later(steady, frame.rgb, later, stabiliser.variance)
    assert out.meta["video"]["look_ahead"] == 4
    a, b = np.polyfit(out.values.ravel(), true.ravel(), 1)
    assert a == pytest.approx(1.0, abs=0.05)
    assert abs(b) < 0.1
    assert np.abs(out.values - true).mean() < 0.75 * np.abs(first.values - true).mean()
    assert out.uncertainty.mean() < 0.85 * sigma.mean()
    assert with_later(steady, frame.rgb, [], None) is steady
