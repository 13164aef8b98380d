"""Counters and histograms in Prometheus' text format."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from leadline.errors import InputError

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MEMBERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: Name → (type, help, buckets for histograms).
_KNOWN: Mapping[str, tuple[str, str, tuple[float, ...]]] = {
    "requests_total": ("counter", "Messages from clients, by operation", ()),
    "outcomes_total": ("counter", "How predict requests ended, by code", ()),
    "malformed_total": ("counter", "Messages that broke the protocol", ()),
    "refused_connections_total": ("counter", "Handshakes refused", ()),
    "shared_requests_total": ("counter", "Predict requests whose pixels were in shared memory", ()),
    "received_bytes_total": ("counter", "Bytes of request bodies", ()),
    "sent_bytes_total": ("counter", "Bytes of result bodies", ()),
    "undelivered_total": ("counter", "Replies whose client was gone or does not read", ()),
    "worker_starts_total": ("counter", "Worker processes started", ()),
    "worker_losses_total": ("counter", "Worker processes that died", ()),
    "socket_recycles_total": ("counter", "Times all connections were dropped to free memory", ()),
    "batch_members": ("histogram", "Images times ensemble size per batch", MEMBERS),
    "model_seconds": ("histogram", "Computation per batch", SECONDS),
    "queue_seconds": ("histogram", "Waiting per request", SECONDS),
    "request_seconds": ("histogram", "Arrival to result per request", SECONDS),
    "queue_length": ("gauge", "Requests that wait", ()),
    "lent_bytes": ("gauge", "Shared memory lent to clients on this machine", ()),
    "workers_ready": ("gauge", "Workers that are up", ()),
}


class Metrics:
    """What the server counts. Used from one thread."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)

    def count(self, name: str, label: str = "", by: float = 1.0) -> None:
        """Add to a counter. ``label`` is ``key="value"`` or empty; its values come from a fixed set."""
        self._numbers[name][label] += by

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._numbers[name][""] = value

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        buckets = _KNOWN[name][2]
        counts = self._histograms.setdefault(name, [0] * (len(buckets) + 1))
        counts[bisect_left(buckets, value)] += 1
        self._sums[name] += value

    def value(self, name: str, label: str = "") -> float:
        """A counter's or gauge's value now."""
        return self._numbers[name][label]

    def render(self) -> str:
        """Everything, as text."""
        lines = []
        for name, (kind, text, buckets) in _KNOWN.items():
            full = f"leadline_{name}"
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
            if kind == "histogram":
                total = 0
                counts = self._histograms.get(name, [0] * (len(buckets) + 1))
                for bound, count in zip([*buckets, float("inf")], counts, strict=True):
                    total += count
                    lines.append(f'{full}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}')
                lines += [f"{full}_sum {self._sums[name]:.6f}", f"{full}_count {total}"]
            else:
                for label, number in sorted(self._numbers.get(name, {"": 0.0}).items()):
                    lines.append(f"{full}{{{label}}} {number:g}" if label else f"{full} {number:g}")
        return "\n".join(lines) + "\n"


class MetricsPage:
    """``http://127.0.0.1:port/metrics``: the last :attr:`text`."""

    def __init__(self, port: int) -> None:
        self.text = ""
        page = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                body = page.text.encode()
                self.send_response(200 if self.path == "/metrics" else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                if self.path == "/metrics":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InputError(f"port {port} for metrics cannot be used ({error.strerror}); choose another") from error
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()
