"""Entry point of the gateway: its configuration comes as one line on standard input, whose end is its own."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from leadline.serving.http.app import make_app
from leadline.serving.http.config import GatewayConfig
from leadline.serving.logs import StandardError, configure

#: A connection that has not sent a whole request head within this time is closed.
FIRST_WORDS_S = 10.0
MOST_CONNECTIONS = 512


class Impatient(H11Protocol):
    """Closes connections that say nothing, which uvicorn keeps for ever."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(FIRST_WORDS_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():  # no request so far
            self.transport.close()


def _leave_with_input() -> None:
    while os.read(0, 4096):
        continue
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    config = GatewayConfig.from_json(sys.stdin.readline())
    configure(config.log_style, config.log_level)
    sys.stderr = StandardError()
    threading.Thread(target=_leave_with_input, daemon=True).start()
    settings = uvicorn.Config(
        make_app(config),
        http=Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=64 * 1024,
        timeout_keep_alive=10,
    )
    with socket.socket(fileno=config.descriptor) as listening:
        uvicorn.Server(settings).run(sockets=[listening])
    os._exit(0)


if __name__ == "__main__":
    main()
