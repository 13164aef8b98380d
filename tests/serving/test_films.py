"""Films whose frames come one by one are held still, each by its own stabiliser, in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from stand_in import StandIn
from waiting import until

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.serving.client.client import Client, Refused
from leadline.serving.protocol.messages import ImageInfo, Limits, Predict
from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.homes import FORGET_S, MOST_OF_A_CLIENT, Homes
from leadline.serving.server.server import Server
from leadline.serving.worker import films
from leadline.serving.worker.films import Films, NoFilmsError

Frames = list[np.ndarray]


@pytest.fixture
def frames() -> Frames:
    """A camera that moves over a picture; the stand-in adds the frame's seed to each map."""
    picture = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.ascontiguousarray(picture[:160, at : at + 240]) for at in (0, 4, 8, 12, 16)]


def here(frames: Sequence[np.ndarray]) -> list[DepthPrediction]:
    """What the stabiliser makes of the stand-in's maps in this process."""
    from leadline.video.stabiliser import Stabiliser

    stabiliser, network = Stabiliser(), StandIn("plain")
    maps = [network.predict([frame], seed=[seed])[0] for seed, frame in enumerate(frames)]
    return [stabiliser.step(one, frame) for one, frame in zip(maps, frames, strict=True)]


def assert_steady(jobs: Sequence[Any], frames: Sequence[np.ndarray]) -> None:
    for job, truth in zip(jobs, here(frames), strict=True):
        there = job.result(60)
        np.testing.assert_array_equal(there.values, truth.values)
        assert there.meta["video"]["cut"] == truth.meta["video"]["cut"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_frames_sent_one_by_one_come_back_as_those_of_one_film(
    start: Callable[..., Server], frames: Frames, replicas: int
) -> None:
    server = start(replicas=replicas)
    with Client(server.address, timeout_s=60) as client:
        assert until(lambda: [one["state"] for one in client.status()["workers"]] == ["idle"] * replicas)
        jobs = [client.submit(frame, seed=seed, steady="film") for seed, frame in enumerate(frames)]
        others = [client.submit(frame, seed=7) for frame in frames[:2]]  # of no film
        assert_steady(jobs, frames)
        assert all("video" not in job.result(60).meta for job in others)
        assert_steady([client.submit(frame, seed=i, steady="next") for i, frame in enumerate(frames[1:])], frames[1:])


def test_films_of_one_name_do_not_meet(start: Callable[..., Server], frames: Frames) -> None:
    server = start()
    backwards = frames[::-1]
    with Client(server.address, timeout_s=60) as one, Client(server.address, timeout_s=60) as other:
        jobs, more = [], []
        for seed, (frame, back) in enumerate(zip(frames, backwards, strict=True)):
            jobs.append(one.submit(frame, seed=seed, steady="film"))
            more.append(other.submit(back, seed=seed, steady="film"))
        assert_steady(jobs, frames)
        assert_steady(more, backwards)


def test_a_film_whose_worker_died_begins_anew_and_says_so(start: Callable[..., Server], frames: Frames) -> None:
    server = start()
    with Client(server.address, timeout_s=60) as client:
        assert [client.predict(frame, steady="film").meta["video"]["cut"] for frame in frames[:2]] == [True, False]
        pid = client.status()["workers"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: client.status()["workers"][0]["pid"] not in (pid, None))
        assert [client.predict(frame, steady="film").meta["video"]["cut"] for frame in frames[:2]] == [True, False]


def test_frames_beyond_the_limit_are_refused(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(limits=Limits(steady_megapixels=0.001))
    with Client(server.address, timeout_s=60) as client:
        with pytest.raises(Refused, match="too large to be held still"):
            client.predict(image, steady="film")
        client.predict(image)


# --- the worker's films


class Counts:
    """In place of a stabiliser: notes how many frames it has seen."""

    def __init__(self) -> None:
        self.frames = 0

    def step(self, prediction: DepthPrediction, rgb: Any) -> DepthPrediction:
        self.frames += 1
        return DepthPrediction(prediction.values + self.frames, prediction.space)


def seen(kept: Films, client: str, film: str, side: int = 10) -> int:
    """The number of the frame in its film."""
    flat = DepthPrediction(np.zeros((2, 2), np.float32), Space.LOG_DEPTH)
    return int(kept.step(client, film, flat, np.zeros((side, side, 3), np.uint8)).values[0, 0])


def test_a_flood_of_names_forgets_its_own_films_only() -> None:
    kept = Films(Counts)
    assert seen(kept, "honest", "film") == 1
    for number in range(1000):
        seen(kept, "flood", str(number))
        assert len(kept) <= films.MOST_FILMS
    assert seen(kept, "honest", "film") == 2
    assert seen(kept, "flood", "999") == 2
    assert seen(kept, "flood", "0") == 1


def test_large_frames_are_bounded_together() -> None:
    kept = Films(Counts)
    seen(kept, "honest", "film", 100)
    for number in range(10):
        seen(kept, "flood", str(number), 3000)
        assert len(kept) <= 3  # of 9 megapixels each, and the small one
    assert seen(kept, "honest", "film", 100) == 2


def test_films_are_forgotten_after_a_time() -> None:
    now = [0.0]
    kept = Films(Counts, lambda: now[0])
    seen(kept, "a", "old")
    now[0] = films.FORGET_S - 1
    seen(kept, "a", "new")
    now[0] = films.FORGET_S + 1
    kept.forget()
    assert len(kept) == 1
    assert seen(kept, "a", "new") == 2


def test_without_opencv_a_film_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "leadline.video.stabiliser", None)
    with pytest.raises(NoFilmsError, match="OpenCV"):
        seen(Films(), "a", "film")


# --- the front's order


def frame(film: str | None, at: float = 0.0, home: str | None = None, ready: bool = True, side: int = 100) -> Ticket:
    return Ticket(
        "a", Predict("x", ImageInfo("raw"), steady=film), (side, side), 100, at, 60.0, ready=ready,
        film=None if film is None else ("a", film), home=home,
    )  # fmt: skip


def test_a_frame_waits_for_those_before_it() -> None:
    batcher = Batcher(Limits())
    first, second, other = frame("film", ready=False), frame("film"), frame("other")
    for one in (first, second, other):
        batcher.admit(one)
    assert batcher.next_batch(1.0) == [other]
    assert batcher.next_batch(1.0) == []
    first.ready = True
    assert batcher.next_batch(1.0) == [first, second]


def test_frames_of_another_size_do_not_overtake() -> None:
    batcher = Batcher(Limits())
    large, small, again = frame("film"), frame("film", side=50), frame("film")
    for one in (large, small, again):
        batcher.admit(one)
    assert [batcher.next_batch(1.0) for _ in range(3)] == [[large], [small], [again]]


def test_frames_wait_for_the_worker_that_has_their_film() -> None:
    batcher = Batcher(Limits())
    mine, free = frame("film", home="w1"), frame("other", home="w2")
    for one in (mine, free):
        batcher.admit(one)
    batcher.away = frozenset({"w1"})
    assert batcher.next_batch(1.0) == [free]
    assert batcher.small_batch(1.0, frozenset({None}), set(), 1.0, "w2") == []
    assert batcher.small_batch(1.0, frozenset({None}), set(), 1.0, "w1") == [mine]


def test_homes_are_few_and_forgotten() -> None:
    homes = Homes()
    homes.settle(("b", "film"), "w", 0.0)
    for number in range(100):
        homes.settle(("a", str(number)), "w", float(number))
    assert homes.of(("a", "99")) == "w"
    assert homes.of(("a", str(99 - MOST_OF_A_CLIENT))) is None
    assert homes.of(("b", "film")) == "w"
    homes.forget(FORGET_S + 1)
    assert homes.of(("b", "film")) is None
    assert homes.of(("a", "99")) == "w"
