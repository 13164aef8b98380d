"""What operators ask over HTTP: metrics, and whether the server lives and is ready."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from leadline.errors import InputError

#: Answer to a health question: whether all is well, and what to say of it.
Health = Callable[[], tuple[bool, dict[str, Any]]]


class OperationsPage:
    """``/metrics``, ``/health/live`` and ``/health/ready``, in threads of its own.

    The answers are made when asked: a front that hangs is not reported alive from memory.

    Args:
        host, port: Where; port 0 is any free one.
        registry: The metrics.
        live: Whether the front goes through its loop.
        ready: Whether a request would be computed now.

    Raises:
        InputError: The address cannot be used.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, live: Health, ready: Health) -> None:
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            question = {"/health/live": live, "/health/ready": ready}.get(path)
            if question is None:
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"there are /metrics, /health/live and /health/ready\n"]
            well, said = question()
            status = "200 OK" if well else "503 Service Unavailable"
            start_response(status, [("Content-Type", "application/json")])
            return [json.dumps(said).encode() + b"\n"]

        try:
            self._http = make_server(host, port, app, ThreadingWSGIServer, _Quiet)
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be used for metrics ({error.strerror}); choose another") from error
        self.port: int = self._http.server_port
        threading.Thread(target=self._http.serve_forever, name="leadline-operations", daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()


class _Quiet(WSGIRequestHandler):
    timeout = 5.0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return
