"""How many workers there are, and how they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from stand_in import expected
from waiting import until

from leadline.serving.client.client import Client
from leadline.serving.server.launch import LocalLauncher
from leadline.serving.server.scaling import Scaler
from leadline.serving.server.server import Server


def test_load_must_last_before_there_are_more_workers_and_longer_before_there_are_fewer() -> None:
    scaler = Scaler(1, 4, per_worker=2.0, up_s=1.0, down_s=10.0)
    assert scaler.look(0.0, 8) == 1
    assert scaler.look(0.5, 0) == 1  # it did not last
    assert scaler.look(1.2, 8) == 1
    assert scaler.look(2.2, 8) == 4
    assert scaler.look(3.0, 100) == 4
    assert scaler.look(4.0, 2) == 4
    assert scaler.look(8.0, 5) == 4
    assert scaler.look(13.9, 0) == 4
    assert scaler.look(14.1, 0) == 3  # what was needed in these ten seconds
    assert scaler.look(14.2, 0) == 3
    assert scaler.look(24.3, 0) == 1
    assert Scaler(2, 2).look(0.0, 1000) == 2


def test_replicas_follow_the_load_and_nothing_is_lost_when_they_leave(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start({"slow": {"step_s": 0.1}}, max_replicas=3, requests_per_worker=2.0, scale_down_s=1.0, max_members=1)
    with Client(server.address, timeout_s=90) as client:
        ended = threading.Event()

        def keep_asking(seed: int) -> int:
            asked = 0
            while not ended.is_set():
                result = client.predict(image, seed=seed, steps=5)
                np.testing.assert_array_equal(result.values, expected(image, seed, 5))
                asked += 1
            return asked

        assert len(client.status()["workers"]) == 1
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(keep_asking, seed) for seed in range(8)]
            try:
                up = until(lambda: sum(one["state"] in ("idle", "busy") for one in client.status()["workers"]) == 3)
            finally:
                ended.set()
            assert up
            assert all(one.result(60) for one in asked)
        assert until(lambda: len(client.status()["workers"]) == 1)
        assert server.metrics.value("worker_losses_total") == 0  # they left in order
        np.testing.assert_array_equal(client.predict(image, seed=99).values, expected(image, 99))


def test_a_worker_whose_machine_is_drained_finishes_and_another_takes_its_place(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    class Drained(LocalLauncher):
        launched: list[Any]

        def launch(self, config: Any) -> Any:
            running = super().launch(config)
            running.must_move = lambda: running is self.launched[0] and self.draining  # type: ignore[method-assign]
            self.launched.append(running)
            return running

    launcher = Drained()
    launcher.launched, launcher.draining = [], False  # type: ignore[attr-defined]
    server = start({"slow": {"step_s": 0.1}}, parts={"launcher": launcher})
    with Client(server.address, timeout_s=90) as client:
        job = client.submit(image, steps=20, seed=1)
        assert until(lambda: client.status()["running"] == 1)
        (before,) = client.status()["workers"]
        launcher.draining = True  # type: ignore[attr-defined]
        after = client.submit(image, seed=2)
        np.testing.assert_array_equal(job.result(60).values, expected(image, 1, 20))
        np.testing.assert_array_equal(after.result(30).values, expected(image, 2))
        assert client.status()["workers"][0]["pid"] != before["pid"]
        assert server.metrics.value("worker_losses_total") == 0
        assert until(lambda: launcher.launched[0].ended() is not None)


def test_no_client_has_all_workers_while_others_are_about(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.2}}, replicas=2, max_members=1)
    with Client(server.address, timeout_s=60) as greedy, Client(server.address, timeout_s=90) as modest:
        assert until(lambda: all(one["state"] == "idle" for one in greedy.status()["workers"]))
        modest.predict(image, steps=1)
        jobs = [greedy.submit(image, seed=seed, steps=60) for seed in range(3)]
        assert until(lambda: modest.status()["running"] >= 1)
        for seed in range(3):
            result = modest.predict(image, seed=seed, steps=1)
            np.testing.assert_array_equal(result.values, expected(image, seed, 1))
            assert not any(job.done() for job in jobs)  # it never waited for one of them
            assert modest.status()["running"] == 1
        for job in jobs:
            job.cancel()
