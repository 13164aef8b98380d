"""A machine that has nothing left to give: no memory, no descriptors, no disk, no interpreter. The front goes on, says
what is wrong, and so does the service once the machine has recovered."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import expected
from test_resilience import HERE, SERVE, server_process
from waiting import until

from leadline.serving.client.client import Client
from leadline.serving.server import launch
from leadline.serving.server.launch import LocalLauncher
from leadline.serving.server.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")


def worker(client: Client) -> Any:
    return client.status()["workers"][0]


def up(client: Client) -> bool:
    return bool(worker(client)["state"] == "idle")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
def test_a_process_that_cannot_be_had_is_said_and_tried_again(
    start: Callable[..., Server], image: np.ndarray, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    server = start()
    with Client(server.address, timeout_s=90) as client:
        assert until(lambda: up(client))

        def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(launch.subprocess, "Popen", refuse)
            os.kill(worker(client)["pid"], signal.SIGKILL)
            job = client.submit(image, seed=2)
            assert until(lambda: os.strerror(number) in worker(client)["reason"])
        np.testing.assert_array_equal(job.result(60).values, expected(image, 2))


def test_an_interpreter_that_is_gone_is_said_and_tried_again(
    start: Callable[..., Server], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    with Client(server.address, timeout_s=90) as client:
        assert until(lambda: up(client))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python3")
            os.kill(worker(client)["pid"], signal.SIGKILL)
            job = client.submit(image, seed=3)
            assert until(lambda: "/nowhere/python3" in worker(client)["reason"])
        np.testing.assert_array_equal(job.result(60).values, expected(image, 3))


def test_without_memory_for_a_worker_the_front_still_answers(start: Callable[..., Server], image: np.ndarray) -> None:
    class Starved(LocalLauncher):
        starved = 0

        def launch(self, config: Any) -> Any:
            running = super().launch(config)
            if self.starved < 2:
                self.starved += 1
                limit = (48 << 20, resource.RLIM_INFINITY)  # less than NumPy's libraries take
                resource.prlimit(running._process.pid, resource.RLIMIT_AS, limit)  # type: ignore[attr-defined]
            return running

    launcher = Starved()
    server = start(parts={"launcher": launcher})
    with Client(server.address, timeout_s=90) as client:
        job = client.submit(image, seed=4)
        assert until(lambda: "it ended with" in worker(client)["reason"] or up(client))
        assert launcher.starved >= 1
        np.testing.assert_array_equal(job.result(60).values, expected(image, 4))
        assert server.metrics.value("worker_losses_total") == 2


def test_a_front_whose_own_memory_is_used_up_comes_back(image: np.ndarray) -> None:
    with server_process() as (process, address), Client(address, timeout_s=90) as client:
        assert until(lambda: up(client))
        before = resource.prlimit(process.pid, resource.RLIMIT_AS)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (64 << 20, before[1]))  # below what it has: it gets no more
        os.kill(worker(client)["pid"], signal.SIGKILL)
        assert until(lambda: worker(client)["reason"] != "")
        for _ in range(20):
            client.status()
            time.sleep(0.1)
        resource.prlimit(process.pid, resource.RLIMIT_AS, before)
        assert until(lambda: up(client))
        np.testing.assert_array_equal(client.predict(image, seed=4).values, expected(image, 4))


def test_a_full_disk_stops_nobody(image: np.ndarray) -> None:
    large = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)  # large enough to borrow memory for
    command = [sys.executable, "-c", SERVE, "serve", "--announce", "--end-with-stdin", "--loader=stand_in:load",
               "--bind=tcp://127.0.0.1:*", f"--model=plain={json.dumps({})}", "--log-level=debug"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(HERE))}
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=full, env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["listening"]
        try:
            with Client(address, timeout_s=90) as client:
                np.testing.assert_array_equal(client.predict(image, seed=1).values, expected(image, 1))
                resource.prlimit(
                    process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)
                )  # and nothing can be written any more
                for seed in range(4):
                    np.testing.assert_array_equal(client.predict(large, seed=seed).values, expected(large, seed))
                os.kill(worker(client)["pid"], signal.SIGKILL)
                np.testing.assert_array_equal(client.predict(large, seed=5).values, expected(large, 5))
                assert client.status()["log_lines_dropped"] == 0  # nobody waited for lines that could not be written
        finally:
            process.stdin.close()
            process.wait(60)
        assert process.returncode == 0
