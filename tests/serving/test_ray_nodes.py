"""A Ray cluster of three nodes on this machine: one is killed under load, one is drained, its head goes and comes back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import pytest
from stand_in import expected
from waiting import until

from leadline.serving.client.client import Client
from leadline.serving.server.server import Server

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
QUIET = {"include_dashboard": False, "num_cpus": 1}


@pytest.fixture(autouse=True)
def _ordinary_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")


@contextmanager
def cluster(nodes: int, port: int | None = None) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    here = Cluster(
        initialize_head=True, head_node_args={**QUIET, **({} if port is None else {"gcs_server_port": port})}
    )
    try:
        for _ in range(nodes - 1):
            here.add_node(**QUIET)
        yield here
    finally:
        for node in list(here.worker_nodes):
            here.remove_node(node, allow_graceful=False)
        if here.head_node is not None:
            here.remove_node(here.head_node, allow_graceful=False)
        ray._common.utils.reset_ray_address()  # nobody else is to look for it


def node_of(here: Any, pid: int) -> Any:
    """The node that runs a worker: its raylet is the worker's parent."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in (here.head_node, *here.worker_nodes)}
    return raylets[psutil.Process(pid).ppid()]


class Load:
    """Clients that ask all the time; every answer is compared, every failure kept."""

    def __init__(self, address: str, image: np.ndarray, clients: int) -> None:
        self.right, self.wrong = 0, list[str]()
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(address, image, n)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(200)

    def _ask(self, address: str, image: np.ndarray, seed: int) -> None:
        with Client(address, timeout_s=180) as client:
            while not self._ended.is_set():
                seed += 100
                try:
                    values = client.predict(image, seed=seed, steps=6).values
                    np.testing.assert_array_equal(values, expected(image, seed, 6))
                except Exception as error:
                    self.wrong.append(repr(error))
                with self._lock:
                    self.right += 1


def test_replicas_follow_the_load_over_nodes_that_are_killed_and_drained(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    from leadline.serving.server.ray_engine import RayLauncher

    with cluster(3) as here:
        launcher = RayLauncher(here.address, gpus=0)
        server = start(
            {"slow": {"step_s": 0.1}}, max_replicas=3, requests_per_worker=2.0, scale_down_s=15.0, max_members=1,
            parts={"launcher": launcher, "workers_bind": f"tcp://{launcher.host}:*"},
        )  # fmt: skip
        with Client(server.address, timeout_s=180) as client:

            def busy() -> list[Any]:
                return [one for one in client.status()["workers"] if one["state"] in ("idle", "busy")]

            np.testing.assert_array_equal(client.predict(image, seed=1).values, expected(image, 1))
            assert len(busy()) == 1
            load = Load(server.address, image, 8)
            try:
                assert until(lambda: len(busy()) == 3, 120)  # the load has risen, and the replicas with it
                nodes = {one["pid"]: node_of(here, one["pid"]) for one in busy()}
                assert len(set(nodes.values())) == 3  # spread
                killed, drained = (node for node in nodes.values() if node is not here.head_node)
                before = load.right
                here.remove_node(killed, allow_graceful=False)
                assert until(lambda: load.right > before + 16, 120)
                assert server.metrics.value("worker_losses_total") >= 1
                here.add_node(**QUIET)
                assert until(lambda: len(busy()) == 3, 180)

                (pid,) = (pid for pid, node in nodes.items() if node is drained)
                losses = server.metrics.value("worker_losses_total")
                drain(here.address, drained.node_id)
                assert until(lambda: not psutil.pid_exists(pid), 60)  # it finished its work, and left
                assert server.metrics.value("worker_losses_total") == losses
                before = load.right
                here.remove_node(drained, allow_graceful=False)
                assert until(lambda: load.right > before + 16, 120)
            finally:
                load.end()
            assert load.wrong == []
            assert until(lambda: len(client.status()["workers"]) == 1, 60)  # and they go when it falls
        server.stop()
        until(lambda: not server._pool.slots[0].child, 10)
        launcher.close()


def drain(address: str, node: str) -> None:
    """As autoscalers ask for it."""
    from ray._raylet import GcsClient

    reason = 2  # DRAIN_NODE_REASON_PREEMPTION
    deadline_ms = int(1000 * (time.time() + 600))
    accepted, why = GcsClient(address=address).drain_node(node, reason, "maintenance", deadline_ms)
    assert accepted, why


def test_a_head_that_goes_and_comes_back_is_found_again(start: Callable[..., Server], image: np.ndarray) -> None:
    from leadline.serving.server.ray_engine import RayLauncher

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with cluster(1, port) as here:
        launcher = RayLauncher(here.address, gpus=0)
        server = start(parts={"launcher": launcher, "workers_bind": f"tcp://{launcher.host}:*"})
        with Client(server.address, timeout_s=300) as client:
            np.testing.assert_array_equal(client.predict(image, seed=1).values, expected(image, 1))
            here.remove_node(here.head_node, allow_graceful=False)
            slowest = 0.0
            end = time.monotonic() + 15
            while time.monotonic() < end:
                asked = time.monotonic()
                client.status()
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.2)
            assert slowest < 3.0
            assert client.status()["workers"][0]["state"] != "idle"
            assert server.live()[0]
            here.add_node(**QUIET, gcs_server_port=port)  # there is no head: this one is it
            np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))
        server.stop()
        launcher.close()
