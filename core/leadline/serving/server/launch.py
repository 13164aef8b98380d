"""Starting worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Protocol

from leadline.serving.worker.worker import WorkerConfig
from leadline.threads import settings


class Running(Protocol):
    """A worker that was started."""

    def alive(self) -> bool:
        """Whether it still runs."""

    def kill(self) -> None:
        """End it now."""

    def wait(self, timeout_s: float) -> None:
        """Give it time to end by itself, then end it."""


class Launcher(Protocol):
    """A way to start workers."""

    def launch(self, config: WorkerConfig) -> Running:
        """Start one."""


class LocalLauncher:
    """Workers as processes of this machine.

    Args:
        threads: CPU threads for each; None: as many as there are free cores.

    Attributes:
        environment: What each gets.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.environment = {**os.environ, **settings(threads)}

    def launch(self, config: WorkerConfig) -> Running:
        """Start a worker that ends when this process does."""
        return _LocalProcess(config, self.environment)


class _LocalProcess:
    def __init__(self, config: WorkerConfig, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leadline.serving.worker.worker"],
            stdin=subprocess.PIPE,
            pass_fds=[config.arena[0]] if config.arena is not None else [],
            env=environment,
            start_new_session=True,  # Ctrl+C is for the front, which ends its workers in order
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(config)).encode() + b"\n")
            self._process.stdin.flush()

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._finish()

    def wait(self, timeout_s: float) -> None:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._finish()

    def _finish(self) -> None:
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
