"""A server as a program: until a signal, or the end of its input, stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server.server import Server


def serve(
    config: ServerConfig,
    announce: Callable[[str, str | None], None],
    end_with_stdin: bool = False,
    models: Callable[[], Mapping[str, str]] | None = None,
    **parts: Any,
) -> None:
    """Serve in this thread until SIGTERM or SIGINT (twice: at once), or until standard input ends. SIGHUP reloads.

    Args:
        config: How.
        announce: Told the address, and that of HTTP, once they are bound.
        end_with_stdin: For servers that another process started for itself.
        models: What to serve after SIGHUP.
        **parts: Further arguments of :class:`Server`.
    """
    server = Server(config, **parts)
    if models is not None and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: server.reload(models()))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    if end_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
    announce(server.address, server.http_address)
    server.run()


def _stop_with_stdin(server: Server) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            continue
    server.stop()
    server.stop()  # whoever started us is gone: there is nobody to finish for
