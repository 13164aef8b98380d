"""A body of many megabytes is copied piece by piece, and keeps nobody waiting."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import expected
from waiting import until

from leadline.errors import Cancelled
from leadline.serving.client.client import Client
from leadline.serving.client.job import Job
from leadline.serving.server import memory, pool
from leadline.serving.server.copies import Copy
from leadline.serving.server.server import Server


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying takes thousands of turns."""
    small = replace(pool.FRONT, copied_at_once_bytes=100_000, piece_bytes=4096)
    monkeypatch.setattr(pool, "FRONT", small)
    monkeypatch.setattr(memory, "FRONT", small)


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3000, 4000, 3), np.uint8)


class Copied(NamedTuple):
    """A server with one worker, that worker's process, and a request with seed 4 whose image is on its way to it."""

    server: Server
    worker: int
    client: Client
    job: Job[Any]


@pytest.fixture
def copied(slowly: None, start: Callable[..., Server], image: np.ndarray, large: np.ndarray) -> Iterator[Copied]:
    server = start()
    with Client(server.address, timeout_s=90, share=False) as client:
        client.predict(image)
        (worker,) = client.status()["workers"]
        job = client.submit(large, seed=4)
        assert until(lambda: server._pool.copying)
        yield Copied(server, worker["pid"], client, job)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 64))
def test_pieces_make_the_whole(data: bytes, piece: int) -> None:
    target = bytearray(len(data))
    copy = Copy(memoryview(target), memoryview(data))
    pieces = 1
    while not copy.go_on(piece):
        pieces += 1
    assert bytes(target) == data
    assert pieces == -(-len(data) // piece)


@pytest.mark.usefixtures("slowly")
def test_others_are_answered_while_a_large_image_is_copied(
    start: Callable[..., Server], image: np.ndarray, large: np.ndarray
) -> None:
    server = start(replicas=2)
    with (
        Client(server.address, timeout_s=90, share=False) as patient,
        Client(server.address, timeout_s=90, share=False) as other,
    ):
        for seed in range(4):  # both workers are up
            other.predict(image, seed=seed)
        job = patient.submit(large, steps=1, seed=7)
        assert until(lambda: server._pool.copying)
        np.testing.assert_array_equal(other.predict(image, seed=5).values, expected(image, 5))
        assert not job.done()
        np.testing.assert_array_equal(job.result(90).values, expected(large, 7, 1))


def test_a_cancel_while_copying_leaves_the_worker_free(copied: Copied, image: np.ndarray, large: np.ndarray) -> None:
    copied.job.cancel()
    with pytest.raises(Cancelled):
        copied.job.result(30)
    np.testing.assert_array_equal(copied.client.predict(image, seed=2).values, expected(image, 2))
    assert not copied.server._pool.copying
    assert copied.client.status()["workers"][0]["pid"] == copied.worker
    np.testing.assert_array_equal(copied.client.predict(large, seed=3).values, expected(large, 3))


def test_a_worker_killed_while_copying_is_replaced_and_the_request_done(copied: Copied, large: np.ndarray) -> None:
    os.kill(copied.worker, signal.SIGKILL)
    np.testing.assert_array_equal(copied.job.result(90).values, expected(large, 4))
    assert copied.client.status()["workers"][0]["pid"] != copied.worker


def test_a_worker_that_waits_for_a_large_image_is_not_given_a_small_one_to_interrupt_for_it(copied: Copied) -> None:
    (slot,) = copied.server._pool.slots
    assert slot.batch is not None
    assert slot.batch.copies
    slot.batch.cost = 100.0
    assert copied.server._pool.interruptible() == []
