"""Workers as actors on a Ray cluster.

Ray places them, and says when one is gone; requests and results do not pass through it. An actor runs the same loop as
a local worker process and connects to the front by itself, encrypted with keys that live as long as the front.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from typing import Any

from leadline.errors import InputError, first_line
from leadline.serving.server.launch import Running
from leadline.serving.worker.config import WorkerConfig


class RayLauncher:
    """Starts workers on a cluster.

    Args:
        address: Of the cluster; None: RAY_ADDRESS, or a new one on this machine.
        gpus: For each worker; None: 1 if the cluster has any.
        cpus: For each worker; Ray sets the number of its threads by them.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, gpus: float | None = None, cpus: float = 1.0) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise InputError("Ray is not installed; run: pip install 'leadline[ray]'") from error
        # Ray's workers run at niceness 15 by default: beside anything else on the machine they hardly get to run.
        os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            ray.init(address=address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=True)
        except Exception as error:
            raise InputError(f"no Ray cluster can be used ({error}); check --ray-address") from error
        self._ray = ray
        self._gpus = gpus if gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
        self._cpus = cpus
        self.host: str = ray.util.get_node_ip_address()

    def launch(self, config: WorkerConfig) -> Running:
        """Start an actor. Ray itself neither restarts it nor retries its calls: the front does."""
        options = {"num_gpus": self._gpus, "num_cpus": self._cpus, "max_restarts": 0, "max_task_retries": 0}
        actor = self._ray.remote(_Actor).options(**options).remote()
        return _RayActor(self._ray, actor, actor.serve.remote(config))


class _Actor:
    """Runs a worker in its process."""

    def serve(self, config: WorkerConfig) -> None:
        from leadline.inference.allocator import keep_large_blocks  # noqa: PLC0415
        from leadline.serving.logs import configure  # noqa: PLC0415
        from leadline.serving.worker.pulse import Heart  # noqa: PLC0415
        from leadline.serving.worker.worker import Worker  # noqa: PLC0415

        heart = Heart(config)
        heart.start()
        configure(config.log_style, config.log_level)
        keep_large_blocks()
        Worker(config, heart).serve()


class _RayActor:
    def __init__(self, ray: Any, actor: Any, done: Any) -> None:
        self._ray, self._actor, self._done = ray, actor, done

    def ended(self) -> str | None:
        try:
            finished, _ = self._ray.wait([self._done], timeout=0)
            if finished:
                self._ray.get(self._done)
        except Exception as error:  # the actor, or the cluster itself, is gone
            return f"Ray: {type(error).__name__}: {first_line(error)}"
        return "it ended" if finished else None

    def kill(self) -> None:
        with contextlib.suppress(Exception):  # it is gone already
            self._ray.kill(self._actor, no_restart=True)

    def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(Exception):
            self._ray.wait([self._done], timeout=timeout_s)
        self.kill()

    def effort_s(self) -> float | None:
        return None  # what the actor's own pulse says has to do
