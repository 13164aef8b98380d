"""What `leadline serve --engine ray` keeps that the same model as a Ray Serve deployment does not, and what each costs.

    pip install "leadline[serve]" "ray[serve]"
    python benchmarks/serving_ray.py [--rounds 40]

Both run on a cluster of this machine, with two replicas of a stand-in model. Measured are, for each: the round trip of a
1920×1080 image and its map beyond the model's time; how long a cancelled computation goes on; after SIGKILL of a replica
with eight requests on their way, how many the caller loses; and after SIGSTOP of a replica, how long a request that is
with it takes. Ray Serve has its defaults but for two replicas, one request each at a time, and health checks as often as
ours: every second, with six seconds to answer.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from serving import ReadyMap

#: A request that takes as long as a large ensemble does, in steps between which it can be stopped.
STEPS, STEP_S = 60, 0.1
#: What is given up waiting for.
PATIENCE_S = 90.0


class Steps(ReadyMap):
    """The stand-in; with ``steps``, one that takes its time."""

    running = 0

    def predict(self, image: list[Any], out: Any = None, on_progress: Any = None, **options: Any) -> Any:
        steps = options.get("steps") or 1
        self.running += 1
        try:
            for step in range(steps if steps > 1 else 0):
                if on_progress is not None:
                    on_progress("solve", step / steps)
                time.sleep(STEP_S)
        finally:
            self.running -= 1
        return super().predict(image, out)


def load(source: str, device: str, precision: str) -> Steps:
    """Loader for the server."""
    return Steps()


class Ours:
    """The front with workers on the cluster."""

    name = "leadline serve --engine ray"

    def __init__(self) -> None:
        from leadline.serving.client.client import Client
        from leadline.serving.protocol.messages import Limits
        from leadline.serving.protocol.settings import ServerConfig
        from leadline.serving.server.ray_engine import RayLauncher
        from leadline.serving.server.server import Server

        self._launcher = RayLauncher(os.environ["LEADLINE_BENCHMARK_CLUSTER"], gpus=0)
        config = ServerConfig(
            "tcp://127.0.0.1:*", {"ready": "x"}, loader="serving_ray:load", replicas=2, max_members=1, log_level="error",
            limits=Limits(rate_per_s=1e4, burst=10_000),
        )  # fmt: skip
        self._server = Server(config, self._launcher, f"tcp://{self._launcher.host}:*")
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        self.client = Client(self._server.address, timeout_s=PATIENCE_S)
        self.settle()

    def settle(self) -> None:
        """Wait for both replicas."""
        while sum(one["state"] == "idle" for one in self.client.status()["workers"]) < 2:
            time.sleep(0.1)

    def pids(self) -> list[int]:
        return [one["pid"] for one in self.client.status()["workers"]]

    def busy(self) -> int:
        """Process of the replica that computes."""
        return next(one["pid"] for one in self.client.status()["workers"] if one["state"] == "busy")

    def computing(self) -> bool:
        """Whether any replica computes."""
        return any(one["state"] == "busy" for one in self.client.status()["workers"])

    def ask(self, image: np.ndarray, steps: int = 1) -> tuple[np.ndarray, float]:
        """A map and the model's seconds."""
        prediction = self.client.predict(image, steps=steps)
        return prediction.values, prediction.meta["model_seconds"]

    def cancel_after(self, image: np.ndarray, seconds: float) -> None:
        """Begin, and cancel."""
        jobs = [self.client.submit(image, steps=STEPS) for _ in range(2)]
        time.sleep(seconds)
        for job in jobs:
            job.cancel()

    def close(self) -> None:
        self.client.close()
        self._server.stop()
        self._server.stop()
        self._thread.join()
        self._launcher.close()


class Theirs:
    """The same model as a deployment of Ray Serve."""

    name = "Ray Serve"

    def __init__(self) -> None:
        import ray
        from ray import serve

        self._ray, self._serve = ray, serve
        ray.init(os.environ["LEADLINE_BENCHMARK_CLUSTER"], log_to_driver=False)

        @serve.deployment(
            num_replicas=2, max_ongoing_requests=1, health_check_period_s=1.0, health_check_timeout_s=6.0,
            graceful_shutdown_timeout_s=5.0, ray_actor_options={"num_cpus": 0.5},
        )  # fmt: skip
        class Deployed:
            def __init__(self) -> None:
                from serving_ray import Steps

                self._model = Steps()

            def predict(self, image: np.ndarray, steps: int) -> tuple[np.ndarray, float, int]:
                began = time.perf_counter()
                values = self._model.predict([image], steps=steps)[0].values
                return values, time.perf_counter() - began, os.getpid()

            def running(self) -> int:
                time.sleep(0.05)
                return self._model.running

            def pid(self) -> int:
                time.sleep(0.2)
                return os.getpid()

        self._pids: list[int] = []
        self._handle = serve.run(Deployed.bind(), name="leadline", route_prefix=None)
        self.settle()

    def settle(self) -> None:
        """Wait for both replicas."""
        while len(self.pids()) < 2:
            time.sleep(0.2)

    def pids(self) -> list[int]:
        return sorted({one.result(timeout_s=PATIENCE_S) for one in [self._handle.pid.remote() for _ in range(4)]})

    def computing(self) -> bool:
        """Whether any replica computes."""
        return any(one.result(timeout_s=PATIENCE_S) for one in [self._handle.running.remote() for _ in range(4)])

    def busy(self) -> int:
        """With both replicas busy, either."""
        return self._pids[0]

    def ask(self, image: np.ndarray, steps: int = 1) -> tuple[np.ndarray, float]:
        """A map and the model's seconds."""
        values, seconds, _ = self._handle.predict.remote(image, steps).result(timeout_s=PATIENCE_S)
        return values, seconds

    def cancel_after(self, image: np.ndarray, seconds: float) -> None:
        """Begin, and cancel."""
        asked = [self._handle.predict.remote(image, STEPS) for _ in range(2)]
        time.sleep(seconds)
        for one in asked:
            one.cancel()

    def remember(self) -> None:
        """Who the replicas are, before they are all busy."""
        self._pids = self.pids()

    def close(self) -> None:
        self._serve.shutdown()
        self._ray.shutdown()


def lost(engine: Any, image: np.ndarray, harm: Callable[[int], None], requests: int) -> tuple[int, float]:
    """Of some requests on both replicas, one of which comes to harm: how many end in an error, and the slowest one's time."""
    if isinstance(engine, Theirs):
        engine.remember()
    slowest, failed, lock = [0.0], [0], threading.Lock()

    def one(_: int) -> None:
        began = time.monotonic()
        try:
            engine.ask(image, steps=10)
        except Exception:
            with lock:
                failed[0] += 1
        slowest[0] = max(slowest[0], time.monotonic() - began)

    with ThreadPoolExecutor(requests) as pool:
        asked = [pool.submit(one, number) for number in range(requests)]
        time.sleep(0.4)
        harm(engine.busy())
        for task in asked:
            task.result()
    return failed[0], slowest[0]


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def measure(engine: Any, rounds: int) -> None:
    """Print one engine's numbers."""
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    small = image[:48, :64].copy()
    overheads = []
    for number in range(rounds + 5):
        began = time.perf_counter()
        _, model_s = engine.ask(image)
        if number >= 5:
            overheads.append(time.perf_counter() - began - model_s)
    print(
        f"{engine.name}: round trip beyond the model {1e3 * statistics.median(overheads):.1f} ms (median of {rounds})",
        flush=True,
    )
    engine.cancel_after(small, 0.5)
    began = time.monotonic()
    while engine.computing():
        time.sleep(0.02)
    print(
        f"  after a cancel the replicas go on computing for {time.monotonic() - began:.2f} s (of {STEPS * STEP_S:.0f} s)",
        flush=True,
    )
    engine.settle()
    failed, slowest = lost(engine, small, _kill, 8)
    print(
        f"  one replica killed with 8 requests on their way: {failed} lost, the slowest took {slowest:.1f} s",
        flush=True,
    )
    engine.settle()
    failed, slowest = lost(engine, small, _stop, 4)
    print(
        f"  one replica stopped with 4 requests on their way: {failed} lost, the slowest took {slowest:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", choices=["ours", "theirs"])
    options = parser.parse_args()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0", PYTHONPATH=str(Path(__file__).parent))
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    os.environ["LEADLINE_BENCHMARK_CLUSTER"] = cluster.address
    try:
        for kind in (Ours, Theirs):
            if options.only in (None, kind.__name__.lower()):
                engine = kind()
                try:
                    measure(engine, options.rounds)
                finally:
                    with suppress(Exception):
                        engine.close()
    finally:
        ray.shutdown()
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        ray._common.utils.reset_ray_address()


if __name__ == "__main__":
    sys.exit(main())
