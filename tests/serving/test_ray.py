"""Workers on a local Ray cluster of several processes, one of which is killed under load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from stand_in import expected

from leadline.serving.client.client import Client
from leadline.serving.server.server import Server

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from leadline.serving.server.ray_engine import RayLauncher

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = ray.init("local", num_cpus=3, include_dashboard=False)
    started = RayLauncher(cluster.address_info["address"], gpus=0)
    try:
        yield started
    finally:
        started.close()
        ray.shutdown()


def test_the_front_outlives_the_clusters_head(start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    from leadline.serving.server.ray_engine import RayLauncher

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    started = RayLauncher(None, gpus=0)  # a cluster of its own
    server = start(start_s=60.0, parts={"launcher": started, "workers_bind": f"tcp://{started.host}:*"})
    image = np.zeros((48, 64, 3), np.uint8)
    with Client(server.address, timeout_s=200) as client:
        np.testing.assert_array_equal(client.predict(image, seed=1).values, expected(image, 1))
        first = started._agent
        family = psutil.Process(first._process.pid).children(recursive=True)
        heads = [process for process in family if "gcs_server" in process.name()]
        assert heads
        for head in heads:
            head.kill()
        end = time.monotonic() + 60
        slowest = 0.0
        while not first.ended and time.monotonic() < end:
            asked = time.monotonic()
            client.status()
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.2)
        assert slowest < 20.0
        assert first.ended  # Ray ends its driver; the front goes on, and starts another on a new cluster
        np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))
    started.close()


def test_a_killed_actor_loses_nothing(launcher: Any, start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(
        {"slow": {"step_s": 0.05}}, replicas=2, max_members=2,
        parts={"launcher": launcher, "workers_bind": f"tcp://{launcher.host}:*"},
    )  # fmt: skip
    with Client(server.address, timeout_s=120) as client:
        end = time.monotonic() + 150
        while any(worker["state"] != "idle" for worker in client.status()["workers"]):
            assert time.monotonic() < end
            time.sleep(0.1)
        pids = [worker["pid"] for worker in client.status()["workers"]]
        assert len(set(pids)) == 2

        def ask(seed: int) -> None:
            with Client(server.address, timeout_s=120) as one:
                np.testing.assert_array_equal(one.predict(image, seed=seed, steps=10).values, expected(image, seed, 10))

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, seed) for seed in range(16)]
            time.sleep(0.7)
            os.kill(pids[0], signal.SIGKILL)
            for one in asked:
                one.result(120)
        assert server.metrics.value("worker_losses_total") >= 1


def test_the_command_starts_a_cluster_answers_and_ends(image: np.ndarray) -> None:
    command = [sys.executable, "-c", "from leadline.cli.main import main; main()", "serve", "--engine=ray",
               "--ray-host=127.0.0.1", "--bind=tcp://127.0.0.1:*", "--model=m={}", "--loader=stand_in:load", "--announce",
               "--end-with-stdin"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        announced = next(line for line in server.stdout if line.startswith(b"{"))
        with Client(json.loads(announced)["listening"], timeout_s=200) as client:
            np.testing.assert_array_equal(client.predict(image, seed=4).values, expected(image, 4))
        server.stdin.close()
        assert server.wait(60) == 0


def test_several_fronts_share_a_cluster(launcher: Any, start: Callable[..., Server], image: np.ndarray) -> None:
    from leadline.serving.server.ray_engine import RayLauncher

    second = RayLauncher(launcher.address, gpus=0)
    try:
        servers = [start(parts={"launcher": one, "workers_bind": f"tcp://{one.host}:*"}) for one in (launcher, second)]
        for seed, server in enumerate(servers):
            with Client(server.address, timeout_s=120) as client:
                np.testing.assert_array_equal(client.predict(image, seed=seed).values, expected(image, seed))
        servers[0].stop()  # one front leaves with its workers, the other goes on
        with Client(servers[1].address, timeout_s=60) as client:
            np.testing.assert_array_equal(client.predict(image, seed=7).values, expected(image, 7))
    finally:
        second.close()
