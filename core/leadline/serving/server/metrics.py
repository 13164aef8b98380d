"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MEMBERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: Name → help, labels. ``client`` is the name of a key; clients without one share the empty label.
_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "requests_total": ("Messages from clients, by operation", ("op",)),
    "outcomes_total": ("How predict requests ended, by code", ("code", "model", "client")),
    "malformed_total": ("Messages that broke the protocol", ()),
    "unread_total": ("Messages beyond their client's rate, dropped unread", ("client",)),
    "refused_connections_total": ("Handshakes refused", ()),
    "cut_connections_total": ("Connections ended: floods, revoked keys", ()),
    "shared_requests_total": ("Predict requests whose pixels were in shared memory", ()),
    "received_bytes_total": ("Bytes of request bodies", ()),
    "sent_bytes_total": ("Bytes of result bodies", ()),
    "undelivered_total": ("Replies whose client was gone or does not read", ()),
    "worker_starts_total": ("Worker processes started", ("replica",)),
    "worker_losses_total": ("Worker processes that died, hung or could not be started", ("replica",)),
    "refused_images_total": ("Encoded images that could not be decoded", ("client",)),
    "socket_recycles_total": ("Times all connections were dropped to free memory", ()),
}
_HISTOGRAMS: dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "batch_members": ("Images times ensemble size per batch", ("model",), MEMBERS),
    "model_seconds": ("Computation per batch", ("model", "replica"), SECONDS),
    "queue_seconds": ("Waiting per request", ("model",), SECONDS),
    "request_seconds": ("Arrival to result per request", ("model",), SECONDS),
    "decode_seconds": ("Decoding per encoded image", (), SECONDS),
}
_GAUGES = {
    "queue_length": "Requests that wait",
    "connections": "Connections of clients",
    "lent_bytes": "Shared memory lent to clients on this machine",
    "workers_ready": "Workers that are up",
    "workers_wanted": "Workers that there should be",
    "log_lines_dropped": "Log lines that nobody read in time",
}


class Metrics:
    """What the server counts, under names that begin with ``leadline_``. Threads may share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {
            name: Counter(f"leadline_{name.removesuffix('_total')}", text, labels, registry=self.registry)
            for name, (text, labels) in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"leadline_{name}", text, labels, buckets=buckets, registry=self.registry)
            for name, (text, labels, buckets) in _HISTOGRAMS.items()
        }
        # Looking a series up among its labels takes longer than counting in it.
        self._series: dict[tuple[Any, ...], Any] = {}
        self._gauges = {name: Gauge(f"leadline_{name}", text, registry=self.registry) for name, text in _GAUGES.items()}

    def count(self, name: str, by: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._of(self._counters[name], name, labels).inc(by)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._gauges[name].set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._of(self._histograms[name], name, labels).observe(value)

    def _of(self, metric: Any, name: str, labels: Mapping[str, str]) -> Any:
        """The series of a metric with these labels."""
        if not labels:
            return metric
        key = (name, *labels.items())
        if key not in self._series:
            self._series[key] = metric.labels(**labels)
        return self._series[key]

    def value(self, name: str, **labels: str) -> float:
        """A counter's or gauge's value now, summed over the labels that are not given."""
        metric = self._counters.get(name) or self._gauges[name]
        return sum(
            sample.value
            for family in metric.collect()
            for sample in family.samples
            if not sample.name.endswith("_created") and labels.items() <= sample.labels.items()
        )

    def render(self) -> str:
        """Everything, as text."""
        return generate_latest(self.registry).decode()


def key_name(client: str) -> str:
    """For labels, which must be few: the name of a client's key; addresses and connections have none."""
    return client.removeprefix("key:") if client.startswith("key:") else ""
