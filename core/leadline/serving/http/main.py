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
#: Line ends in a piece of a head or of a chunked body, which has two for each chunk. Clients send chunks of kilobytes.
LINES, BYTES_PER_LINE = 256, 256


class Impatient(H11Protocol):
    """Closes connections that do not come to the point, which uvicorn keeps for ever: those that take long for the head of a
    request, the first or a later one, and those that send a body in crumbs, each of which costs as much as a large piece."""

    _requests = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(FIRST_WORDS_S, self._close_if_silent, 0)

    def data_received(self, data: bytes) -> None:
        if data.count(b"\r\n") > LINES + len(data) // BYTES_PER_LINE and (self._waits or self._comes_in_chunks()):
            self.transport.close()
            return
        before = self.cycle
        super().data_received(data)
        self._requests += self.cycle is not before

    @property
    def _waits(self) -> bool:
        """For the head of a request."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _comes_in_chunks(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.scope["headers"])

    def _close_if_silent(self, requests: int) -> None:
        if self.transport.is_closing():
            return
        if self._waits and requests == self._requests:  # none since the last look
            self.transport.close()
        else:
            self.loop.call_later(FIRST_WORDS_S, self._close_if_silent, self._requests)


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
