"""The process that speaks HTTP, started and kept alive by the front."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from logging import ERROR

from leadline.errors import InputError
from leadline.serving.http.config import GatewayConfig
from leadline.serving.logs import log
from leadline.serving.server.tuned import GATEWAY

LOOK_EVERY_S = 0.2


def listening(host: str, port: int) -> socket.socket:
    """The socket for HTTP, bound here so that a port in use is told at once, and kept while the gateway restarts.

    Raises:
        InputError: It cannot be bound.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port} cannot be used for HTTP ({error}); choose another --http port") from error


class Gateway(threading.Thread):
    """Runs the gateway in a process of its own, and starts it again when it ends.

    Args:
        config: For it; its descriptor is the listening socket's.
    """

    def __init__(self, config: GatewayConfig) -> None:
        super().__init__(name="leadline-gateway", daemon=True)
        self._config = config
        self._end = threading.Event()
        self.pid: int | None = None

    def run(self) -> None:
        pause_s = GATEWAY.first_pause_s
        while not self._end.is_set():
            started = time.monotonic()
            reason = self._once()
            if self._end.is_set():
                return
            pause_s = (
                GATEWAY.first_pause_s
                if time.monotonic() - started > GATEWAY.young_s
                else min(GATEWAY.longest_pause_s, 2 * pause_s)
            )
            log("gateway lost", ERROR, reason=reason, again_in_s=pause_s)
            self._end.wait(pause_s)

    def stop(self) -> None:
        """End it."""
        self._end.set()
        self.join(5.0)

    def _once(self) -> str:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "leadline.serving.http.main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[self._config.descriptor],
                start_new_session=True,
            )
        except OSError as error:
            return f"it could not be started ({error})"
        assert process.stdin is not None
        self.pid = process.pid
        with contextlib.suppress(OSError):
            process.stdin.write(self._config.to_json().encode() + b"\n")
            process.stdin.flush()
        while process.poll() is None and not self._end.wait(LOOK_EVERY_S):
            continue
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            status = process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        return f"it ended with status {status}"
