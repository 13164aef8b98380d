"""How to serve: address, models, workers, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leadline.serving.protocol.messages import Limits


@dataclass(frozen=True)
class ServerConfig:
    """How to serve.

    Attributes:
        bind: ``tcp://host:port`` (port ``*`` for any free one) or ``ipc://path``.
        models: Name → what the loader takes (a catalog name or a path). The first is the default.
        loader: ``module:function`` that makes an estimator.
        device, precision: As for ``leadline.load``.
        compiled, speed, backend, decoder: As for ``leadline.load``.
        replicas: Worker processes; devices named with commas are dealt out to them in turn.
        max_replicas: So many while there is work for them; 0: always ``replicas``.
        requests_per_worker: Requests in hand that one worker is enough for.
        scale_down_s: Fewer workers have to be enough for so long before one leaves.
        threads: CPU threads per worker; None: the cores shared out.
        max_members: Images times ensemble size in one batch.
        max_megapixels: Megapixels × members of one step of a batch, and of its images.
        decoders: Processes that decode JPEG and PNG.
        window_s: How long an incomplete batch waits for company.
        limits: What is accepted.
        keys: Folder of a key ring; None: no keys.
        insecure: Allow an address that others can reach without keys.
        memory_bytes: For loaded models, per worker; None: see :class:`~leadline.serving.worker.worker.WorkerConfig`.
        arena_bytes: Memory shared with local workers.
        lend_bytes: Memory lent to clients on this machine, all together; 0: none.
        spare_bytes: What the front may come to hold besides the queue before it drops all connections.
        drain_s: How long a graceful end may take.
        hang_s: How long a worker may take to stop between steps before it is killed.
        silence_s: A worker that gives no sign of life or work for so long is replaced.
        start_s: How long a worker may take to be ready.
        step_s: How long one step may take; as much again for each megapixel × member.
        metrics_port: Port for ``/metrics`` and ``/health``; None: only on request over ZeroMQ.
        metrics_host: Address for it.
        http_port: Port of the HTTP interface; None: there is none.
        http_host: Address for it.
    """

    bind: str
    models: Mapping[str, str]
    loader: str = "leadline.inference.estimator:load"
    device: str = "auto"
    precision: str = "auto"
    compiled: str = "off"
    speed: str = "full"
    backend: str = "auto"
    decoder: str = "full"
    replicas: int = 1
    max_replicas: int = 0
    requests_per_worker: float = 4.0
    scale_down_s: float = 60.0
    threads: int | None = None
    max_members: int = 16
    max_megapixels: float = 16.0
    decoders: int = 2
    window_s: float = 0.004
    limits: Limits = field(default_factory=Limits)
    keys: Path | None = None
    insecure: bool = False
    memory_bytes: int | None = None
    arena_bytes: int = 1 << 30
    lend_bytes: int = 1 << 30
    spare_bytes: int = 512 << 20
    drain_s: float = 30.0
    hang_s: float = 30.0
    silence_s: float = 6.0
    start_s: float = 120.0
    step_s: float = 60.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    http_port: int | None = None
    http_host: str = "127.0.0.1"
    log_style: str = "json"
    log_level: str = "info"

    @property
    def most_replicas(self) -> int:
        """Workers at most."""
        return max(self.replicas, self.max_replicas)
