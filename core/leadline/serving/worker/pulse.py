"""The worker's sign of life."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import zmq

from leadline.serving.processes import effort_s
from leadline.serving.worker.config import WorkerConfig
from leadline.serving.worker.messages import Pulse, pack

#: The front hears this often that a worker lives.
BEAT_S = 0.5
#: The pulse comes over a connection of its own, named like the worker's with this behind it.
PULSE_SUFFIX = "~"


class Heart(threading.Thread):
    """Tells the front, from a thread of its own, how often the worker's loop has moved and what its process has done.

    A stopped process is silent. One whose loop hangs in a dead lock still speaks, but neither number grows.
    """

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(name="leadline-heart", daemon=True)
        self.moves = 0
        self._config = config

    def run(self) -> None:
        with zmq.Context() as context, connected(context, self._config, PULSE_SUFFIX) as socket:
            while True:
                effort = effort_s()
                with contextlib.suppress(zmq.ZMQError):  # the front does not read; the next one will do
                    pulse = Pulse(self.moves, time.process_time() if effort is None else effort)
                    socket.send(pack(pulse), zmq.NOBLOCK)
                time.sleep(BEAT_S)


def connected(context: zmq.Context[Any], config: WorkerConfig, suffix: str = "") -> zmq.Socket[Any]:
    """A socket to the front, under the worker's name."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.routing_id = (config.name + suffix).encode()
    if suffix:
        socket.sndhwm = 2
    if config.keys is not None:
        server, public, secret = (key.encode() for key in config.keys)
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
    socket.connect(config.endpoint)
    return socket
