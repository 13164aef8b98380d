"""Large requests make way for small ones of other clients, and get the time that is theirs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stand_in import expected
from waiting import until

import leadline
from leadline.serving.client.client import Client
from leadline.serving.protocol.messages import ImageInfo, Limits, Predict
from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.server import Server
from leadline.serving.server.slots import Batch
from leadline.serving.worker.between_layers import between_layers

#: Of the stand-in with steps of 0.1 s: 5 s of work, which costs 25 megapixels.
LARGE = {"steps": 50, "size": 1000}


def at_work(client: Client) -> bool:
    return int(client.status()["running"]) > 0


def ticket(client: str, shape: tuple[int, int] = (100, 100), attempts: int = 0, **request: Any) -> Ticket:
    return Ticket(client, Predict("x", ImageInfo("raw"), **request), shape, 100, 0.0, 60.0, attempts)


def test_a_small_request_does_not_wait_for_a_large_one(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.1}})
    with Client(server.address, timeout_s=60) as large, Client(server.address, timeout_s=60) as small:
        small.predict(image, steps=1)
        job = large.submit(image, **LARGE)
        assert until(lambda: at_work(small))
        answers = [small.predict(image, steps=1, seed=number).values for number in range(3)]
        assert not job.done()
        for number, values in enumerate(answers):
            np.testing.assert_array_equal(values, expected(image, number, steps=1))
        np.testing.assert_array_equal(job.result(60).values, expected(image, **LARGE))


def test_a_small_request_of_the_same_client_waits(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.05}})
    with Client(server.address, timeout_s=60) as client:
        client.predict(image, steps=1)
        job = client.submit(image, steps=20, size=1000)
        assert until(lambda: at_work(client))
        client.predict(image, steps=1)
        assert job.done()


def test_either_may_be_cancelled_and_the_other_goes_on(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.1}})
    with Client(server.address, timeout_s=60) as large, Client(server.address, timeout_s=60) as small:
        small.predict(image, steps=1)
        job = large.submit(image, **LARGE)
        assert until(lambda: at_work(small))
        dropped = small.submit(image, steps=10)
        assert until(lambda: small.status()["running"] == 2)
        dropped.cancel()
        np.testing.assert_array_equal(small.predict(image, steps=1).values, expected(image, steps=1))
        kept = small.submit(image, steps=10, seed=2)
        assert until(lambda: small.status()["running"] == 2)
        job.cancel()
        np.testing.assert_array_equal(kept.result(60).values, expected(image, 2, steps=10))
        with pytest.raises(leadline.Cancelled):
            job.result()
        assert until(lambda: not at_work(small))


def test_both_are_done_again_when_their_worker_dies(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.1}})
    with Client(server.address, timeout_s=90) as large, Client(server.address, timeout_s=90) as small:
        small.predict(image, steps=1)
        jobs = [large.submit(image, steps=20, size=1000)]
        assert until(lambda: at_work(small))
        jobs.append(small.submit(image, steps=10, seed=2))
        assert until(lambda: small.status()["running"] == 2)
        os.kill(small.status()["workers"][0]["pid"], signal.SIGKILL)
        np.testing.assert_array_equal(jobs[0].result(90).values, expected(image, steps=20, size=1000))
        np.testing.assert_array_equal(jobs[1].result(90).values, expected(image, 2, steps=10))


def test_compiled_networks_are_not_interrupted(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.05}}, loader="stand_in:load_compiled", compiled="kernels")
    with Client(server.address, timeout_s=60) as large, Client(server.address, timeout_s=60) as small:
        small.predict(image, steps=1)
        job = large.submit(image, steps=20, size=1000)
        assert until(lambda: at_work(small))
        small.predict(image, steps=1)
        assert job.done()


def test_what_may_go_before_a_large_one() -> None:
    batcher = Batcher(Limits())
    wanted = {
        "fits": ticket("b", model="m"),
        "fits, too": ticket("c", model="m"),
        "the same client": ticket("a", model="m"),
        "another model": ticket("b", model="n"),
        "too large": ticket("b", model="m", shape=(1000, 1000)),
        "killed a worker": ticket("b", model="m", attempts=1),
    }
    for one in wanted.values():
        batcher.admit(one)
    small = batcher.small_batch(1.0, frozenset({"m"}), {"a"}, cost=0.1)
    assert small == [wanted["fits"], wanted["fits, too"]]
    assert batcher.small_batch(1.0, frozenset({"m"}), {"a"}, cost=0.1) == []
    assert len(batcher) == 4


def test_together_they_cost_no_more_than_they_may() -> None:
    batcher = Batcher(Limits())
    for _ in range(5):
        batcher.admit(ticket("b"))
    cost = ticket("b").cost
    assert len(batcher.small_batch(1.0, frozenset({None}), {"a"}, 2.5 * cost)) == 2


@pytest.mark.parametrize(
    ("now", "aside_s", "clients", "may"),
    [
        (0.0, 0.0, 2, True),
        (4.0, 3.0, 2, False),
        (5.0, 3.0, 2, True),
        (4.0, 3.0, 4, True),
        (6.0, 5.0, 4, False),
        (7.0, 5.0, 4, True),
    ],
)
def test_a_large_one_gets_its_part_of_the_time(now: float, aside_s: float, clients: int, may: bool) -> None:
    batch = Batch(1, [ticket("a")], [], {0}, began=0.0, aside_s=aside_s)
    assert batch.has_had_its_time(now, clients) is may


def test_between_layers_of_a_network() -> None:
    torch = pytest.importorskip("torch")

    class Slow(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, given: Any) -> Any:
            time.sleep(0.03)
            return given

    network = torch.nn.Sequential(*(Slow() for _ in range(4)))
    calls: list[int] = []

    def action() -> None:
        calls.append(threading.get_ident())
        network(torch.zeros(1))  # a network inside is not interrupted

    with between_layers(action):
        network(torch.zeros(1))
    assert 3 <= len(calls) <= 4
    network(torch.zeros(1))
    assert len(calls) <= 4

    def stop() -> None:
        raise leadline.Cancelled("enough")

    with pytest.raises(leadline.Cancelled), between_layers(stop):
        network(torch.zeros(1))
    network(torch.zeros(1))
