"""Workers as actors on a Ray cluster.

Ray places them, says when one is gone, and when the node of one is being drained; requests and results do not pass through it. An actor runs the same loop as
a local worker process and connects to the front by itself, encrypted with keys that live as long as the front. Ray is
driven by a process of its own (:mod:`leadline.serving.server.ray_agent`), which is started again when it ends.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from leadline.errors import InputError
from leadline.serving.server.launch import Running
from leadline.serving.worker.config import WorkerConfig

POLL_S = 0.1


class RayLauncher:
    """Starts workers on a cluster.

    Args:
        address: Of the cluster; None: RAY_ADDRESS, or a new one on this machine.
        gpus: For each worker; None: 1 if the cluster has any.
        cpus: For each worker; Ray sets the number of its threads by them.

    Attributes:
        address: Of the cluster.
        host: This machine, as the cluster's nodes see it.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, gpus: float | None = None, cpus: float = 1.0) -> None:
        if find_spec("ray") is None:
            raise InputError("Ray is not installed; run: pip install 'leadline[ray]'")
        self.address = address
        self._options = {"address": address, "gpus": gpus, "cpus": cpus}
        self._lock = threading.Lock()
        self._agent = _AgentProcess(self._options)
        self.host: str = self._agent.host

    def launch(self, config: WorkerConfig) -> Running:
        """Start an actor."""
        with self._lock:
            if self._agent.ended:
                self._agent = _AgentProcess(self._options)
            return self._agent.launch(config)

    def close(self) -> None:
        """End the driver, and with it the actors."""
        self._agent.close()


class _AgentProcess:
    """A process that drives Ray, as long as it lives."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leadline.serving.server.ray_agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._numbers = itertools.count()
        self._writing = threading.Lock()
        self.reasons: dict[int, str] = {}
        self.moving: set[int] = set()
        self.ended = False
        self._order(options)
        said = json.loads(self._out.readline() or '{"error": "its driver ended"}')
        if "error" in said:
            self.close()
            raise InputError(f"no Ray cluster can be used ({said['error']}); check --ray-address")
        self.host: str = said["host"]
        threading.Thread(target=self._hear, name="leadline-ray", daemon=True).start()

    def launch(self, config: WorkerConfig) -> Running:
        number = next(self._numbers)
        self._order({"number": number, "config": asdict(config)})
        return _RayActor(self, number)

    def kill(self, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._order({"number": number})

    def close(self) -> None:
        self.ended = True
        with contextlib.suppress(OSError):
            self._in.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _order(self, order: dict[str, Any]) -> None:
        with self._writing:
            self._in.write(json.dumps(order) + "\n")
            self._in.flush()

    def _hear(self) -> None:
        for line in self._out:
            said = json.loads(line)
            if "moving" in said:
                self.moving.add(said["moving"])
            elif "ended" in said:
                self.reasons[said["ended"]] = said["reason"]
                self.moving.discard(said["ended"])
        self.ended = True
        self._process.wait()


class _RayActor:
    def __init__(self, agent: _AgentProcess, number: int) -> None:
        self._agent, self._number = agent, number

    def ended(self) -> str | None:
        reason = self._agent.reasons.get(self._number)
        return "Ray's driver ended; the cluster may be gone" if reason is None and self._agent.ended else reason

    def kill(self) -> None:
        self._agent.kill(self._number)

    def wait(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while self.ended() is None and time.monotonic() < end:
            time.sleep(POLL_S)
        self.kill()

    def effort_s(self) -> float | None:
        return None  # what the actor's own pulse says has to do

    def must_move(self) -> bool:
        return self._number in self._agent.moving
