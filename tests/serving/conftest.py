"""A real server in a thread, with worker processes that run the stand-in estimator."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zmq")

from leadline.serving.client.client import Client
from leadline.serving.protocol.messages import Limits
from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server.server import Server

HERE = str(Path(__file__).parent)
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # the soak's generators of harm
STAND_IN = "stand_in:load"


@pytest.fixture(autouse=True)
def _workers_find_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.syspath_prepend(HERE)


@contextmanager
def serving(models: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Iterator[Server]:
    """A server at a free port. ``parts`` go to ``Server``, the rest to its configuration."""
    parts = settings.pop("parts", {})
    sources = {name: json.dumps(source) for name, source in (models or {"plain": {}}).items()}
    settings = {"bind": "tcp://127.0.0.1:*", "loader": STAND_IN, "log_level": "warning", "drain_s": 5.0, **settings}
    server = Server(ServerConfig(models=sources, **settings), **parts)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        server.stop()
        thread.join(90)
        assert not thread.is_alive()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:
        yield lambda *args, **settings: stack.enter_context(serving(*args, **settings))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for tests that leave it as they found it: a quick model, a slow one, and a broken one."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PYTHONPATH", HERE)
        limits = Limits(
            megapixels=2.0, image_bytes=8 << 20, ensemble=8, queue_per_client=8, rate_per_s=1e5, burst=100000
        )
        models = {"quick": {}, "slow": {"step_s": 0.1}, "broken": {"broken": True}}
        yield stack.enter_context(serving(models, limits=limits))


@pytest.fixture(scope="module")
def http() -> Iterator[Server]:
    """A server that also speaks HTTP."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PYTHONPATH", HERE)
        limits = Limits(megapixels=2.0, image_bytes=4 << 20, ensemble=8)
        yield stack.enter_context(
            serving({"quick": {}, "slow": {"step_s": 0.2}, "faces": {"normals": True}}, http_port=0, limits=limits)
        )


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, timeout_s=30) as connected:
        yield connected


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
