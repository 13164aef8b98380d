"""Clients that ask and do not listen take neither the server's memory nor others' turns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import zmq
from stand_in import expected
from waiting import until

from leadline.serving.client.client import Client
from leadline.serving.protocol.messages import TAG, ImageInfo, Limits, Predict
from leadline.serving.protocol.pixels import map_nbytes
from leadline.serving.server import memory, tuned
from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.outgoing import Outgoing
from leadline.serving.server.server import Server

#: Its map has 8 MB.
PICTURE = np.zeros((1080, 1920), np.uint8)
MAP_BYTES = map_nbytes("float32", *PICTURE.shape) or 0


@contextmanager
def reader(server: Server) -> Iterator[zmq.Socket[Any]]:
    """A connection that takes only what it is asked to."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvhwm = 0, 1
        dealer.connect(server.address)
        yield dealer


def test_who_does_not_read_gets_no_more_and_everything_in_the_end(
    start: Callable[..., Server], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "OUTGOING", replace(tuned.OUTGOING, untaken_bytes=3 * MAP_BYTES))
    # Room for six maps: so many results untaken would leave none for others' pictures.
    server = start(arena_bytes=6 * MAP_BYTES, lend_bytes=0, max_members=1, limits=Limits(queue_per_client=16))
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    head = {"op": "predict", "image": {"encoding": "png"}, "progress": False}
    with reader(server) as deaf, Client(server.address, timeout_s=60) as honest:
        for number in range(16):
            deaf.send_multipart([TAG, json.dumps({**head, "id": str(number), "seed": number}).encode(), png])

        def computed() -> float:
            return server.metrics.value("outcomes_total", code="ok")

        assert until(lambda: computed() >= 3)
        last = [-1.0]

        def rests() -> bool:
            time.sleep(1.0)
            before, last[0] = last[0], computed()
            return before == last[0]

        assert until(rests)
        assert computed() < 14  # two or three lie in the sockets
        encoded = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        np.testing.assert_array_equal(honest.predict(encoded).values, expected(image))

        answered = set()
        while len(answered) < 16:
            assert deaf.poll(60_000)
            header = json.loads(deaf.recv_multipart()[1])
            if header["op"] == "result":
                answered.add(header["id"])
        assert answered == {str(number) for number in range(16)}


def test_pictures_are_decoded_where_there_is_no_shared_memory_left(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start(arena_bytes=4096)
    with Client(server.address, timeout_s=60) as client:
        encoded = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        np.testing.assert_array_equal(client.predict(encoded).values, expected(image))


class Tracker:
    done = False


def test_memory_is_used_again_when_its_result_has_left() -> None:
    free: list[int] = []
    outgoing = Outgoing(free.append, most_bytes=100)
    first, second = Tracker(), Tracker()
    outgoing.add([first], [0], "a", 60)
    outgoing.add([first, second], [1, 2], "a", 60)
    outgoing.add([second], [3], "b", 60)
    assert outgoing.slow_readers() == {"a"}
    first.done = True
    outgoing.collect()
    assert (free, outgoing.slow_readers()) == ([0], frozenset())
    second.done = True
    outgoing.collect()
    assert free == [0, 1, 2, 3]


def test_slow_readers_wait_whatever_the_batch() -> None:
    batcher = Batcher(Limits())
    for client in ("slow", "honest"):
        batcher.admit(Ticket(client, Predict("x", ImageInfo("raw")), (10, 10), 100, 0.0, 60.0))
    batcher.full = frozenset({"slow"})
    assert [t.client for t in batcher.small_batch(1.0, frozenset({None}), set(), 1.0)] == ["honest"]
    assert batcher.next_batch(1.0) == []
    batcher.full = frozenset()
    assert [t.client for t in batcher.next_batch(1.0)] == ["slow"]
