"""The process that drives Ray. Ray ends its driver when the head of its cluster is gone; the front must not be that.

It reads orders as JSON lines on standard input and tells on standard output what became of them; it ends with its input,
and Ray ends the actors of a driver that ended.
"""

from __future__ import annotations

import json
import math
import os
import queue
import sys
import threading
import time
from importlib import import_module
from typing import Any, TextIO

from leadline.serving.worker.config import WorkerConfig

LOOK_EVERY_S = 0.1
#: How often Ray is asked for nodes that are being drained.
DRAINED_EVERY_S = 1.0


class Actor:
    """Runs a worker in its process."""

    def node(self) -> str:
        """Where it is."""
        import ray  # noqa: PLC0415

        return str(ray.get_runtime_context().get_node_id())

    def serve(self, config: WorkerConfig) -> None:
        """Run the worker; returns when the front has told it to leave."""
        from leadline.inference.allocator import keep_large_blocks  # noqa: PLC0415
        from leadline.serving.logs import configure  # noqa: PLC0415
        from leadline.serving.worker.pulse import Heart  # noqa: PLC0415
        from leadline.serving.worker.worker import Worker  # noqa: PLC0415

        heart = Heart(config)
        heart.start()
        configure(config.log_style, config.log_level)
        keep_large_blocks()
        Worker(config, heart).serve()


class Agent:
    """Starts actors, and tells when they end.

    Args:
        address: Of the cluster; None: RAY_ADDRESS, or a new one on this machine.
        gpus: For each worker; None: 1 if the cluster has any.
        cpus: For each worker.
        say: Where to.
    """

    def __init__(self, address: str | None, gpus: float | None, cpus: float, say: TextIO) -> None:
        self._say = say
        ray: Any = import_module("ray")
        # Ray's workers run at niceness 15 by default: beside anything else on the machine they hardly get to run.
        os.environ.setdefault("RAY_worker_niceness", "0")
        address = (
            address or os.environ.get("RAY_ADDRESS") or "local"
        )  # never "auto", which joins any cluster that runs on this machine
        ray.init(address=address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=True)
        self._ray = ray
        if gpus is None:
            gpus = float(ray.cluster_resources().get("GPU", 0) > 0)
        self._options = {
            "num_gpus": gpus,
            "num_cpus": cpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",  # a node that dies takes few of them with it
        }
        self._actors: dict[int, tuple[Any, Any, Any]] = {}
        self._told: set[int] = set()
        self._asked = -math.inf
        self.tell(host=ray.util.get_node_ip_address())

    def tell(self, **said: Any) -> None:
        """Write one line of JSON to the front."""
        self._say.write(json.dumps(said) + "\n")
        self._say.flush()

    def obey(self, orders: queue.Queue[str]) -> None:
        """Start and end actors as ordered, until there are no more orders. Ray itself neither restarts actors nor retries calls: the front does."""
        while True:
            try:
                order = json.loads(orders.get(timeout=LOOK_EVERY_S) or "null")
            except queue.Empty:
                self._look()
                continue
            if order is None:
                return
            number = order["number"]
            if "config" in order:
                try:
                    actor = self._ray.remote(Actor).options(**self._options).remote()
                    node = actor.node.remote()
                    self._actors[number] = actor, actor.serve.remote(WorkerConfig(**order["config"])), node
                except Exception as error:
                    self.tell(ended=number, reason=_in_a_line(error))
            elif number in self._actors:
                self._ray.kill(self._actors[number][0], no_restart=True)

    def _look(self) -> None:
        if time.monotonic() - self._asked > DRAINED_EVERY_S:
            self._asked = time.monotonic()
            self._look_for_drained_nodes()
        for number, (_, done, _) in list(self._actors.items()):
            try:
                if not self._ray.wait([done], timeout=0)[0]:
                    continue
                self._ray.get(done)
                reason = "it ended"
            except Exception as error:
                reason = _in_a_line(error)
            del self._actors[number]
            self._told.discard(number)
            self.tell(ended=number, reason=reason)

    def _look_for_drained_nodes(self) -> None:
        """Ray has no public call for this; Ray Serve asks the same way."""
        try:
            drained = set(import_module("ray._private.state").state.get_draining_nodes())
            for number, (_, _, node) in self._actors.items() if drained else ():
                placed = number not in self._told and self._ray.wait([node], timeout=0)[0]
                if placed and self._ray.get(node) in drained:
                    self._told.add(number)
                    self.tell(moving=number)
        except Exception as error:
            sys.stderr.write(f"leadline: drained nodes are not seen ({_in_a_line(error)})\n")


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"Ray: {type(error).__name__}: {lines[0] if lines else ''}"


def _read(orders: queue.Queue[str]) -> None:
    for line in sys.stdin:
        orders.put(line)
    orders.put("")
    threading.Timer(5.0, os._exit, (0,)).start()  # Ray may take longer to leave than anybody waits


def main() -> None:
    """Entry point of the process."""
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer of ours
    options = json.loads(sys.stdin.readline())
    try:
        agent = Agent(**options, say=say)
    except Exception as error:
        say.write(json.dumps({"error": _in_a_line(error)}) + "\n")
        say.flush()
        os._exit(1)
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    agent.obey(orders)


if __name__ == "__main__":
    main()
