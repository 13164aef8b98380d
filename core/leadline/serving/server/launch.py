"""Starting worker processes on this machine, and looking after any that were started."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import Protocol

from leadline.serving.processes import effort_s, is_stopped, wants_to_run
from leadline.serving.server.crew import Crew
from leadline.serving.worker.config import WorkerConfig
from leadline.threads import settings

#: A worker's end is noticed within this time.
LOOK_EVERY_S = 0.03
#: A worker that the system says is stopped (SIGSTOP) for so long is as good as gone.
STOPPED_S = 3.0
#: A worker whose processor time stands still for so long is asked whether it wants any.
STARVED_S = 0.5


class Running(Protocol):
    """A worker that was started."""

    def ended(self) -> str | None:
        """Why it is no more; None while it runs."""

    def kill(self) -> None:
        """End it now."""

    def wait(self, timeout_s: float) -> None:
        """Give it time to end by itself, then end it."""

    def effort_s(self) -> float | None:
        """See :func:`leadline.serving.processes.effort_s`; None if it is not known."""

    def must_move(self) -> bool:
        """Whether its machine is about to be taken away: it should finish what it has, and another start elsewhere."""


class Launcher(Protocol):
    """A way to start workers. What it and its workers do may fail, and may take long."""

    def launch(self, config: WorkerConfig) -> Running:
        """Start one."""


class Child:
    """A worker, started, watched and ended by a thread of the crew: whoever holds it never waits for it.

    Attributes:
        end: Why there is no such worker (any more); None while it starts and runs.
        effort_s: What it has done, as last seen; None if it is not known.
        must_move: Its machine is about to be taken away.
    """

    def __init__(self, launcher: Launcher, config: WorkerConfig, crew: Crew) -> None:
        self.end: str | None = None
        self.effort_s: float | None = None
        self.must_move = False
        self._launcher, self._config = launcher, config
        self._kill, self._leave = threading.Event(), threading.Event()
        self._patience_s = 0.0
        self._over = threading.Event()
        crew.do(self._live)

    def kill(self) -> None:
        """Have it ended now."""
        self._kill.set()
        self._leave.set()

    def leave(self, timeout_s: float) -> None:
        """Have it ended, if it does not end by itself in time."""
        self._patience_s = timeout_s
        self._leave.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._over.wait(timeout_s)

    def _live(self) -> None:
        try:
            self.end = self._from_start_to_end()
        except Exception as error:  # what a launcher, or a machine without memory, may come up with
            self.end = f"it could not be started or watched ({type(error).__name__}: {error})"
        self._over.set()

    def _from_start_to_end(self) -> str:
        if self._leave.is_set():  # given up while it waited for a thread
            return "it was ended"
        running = self._launcher.launch(self._config)
        try:
            reason = None
            while reason is None and not self._leave.wait(LOOK_EVERY_S):
                reason, self.effort_s, self.must_move = running.ended(), running.effort_s(), running.must_move()
            if reason is None:
                running.kill() if self._kill.is_set() else running.wait(self._patience_s)
                reason = "it was ended"
        except BaseException:
            running.kill()
            raise
        return reason


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
        self._stopped_at: float | None = None
        self._worked_s, self._starved_s, self._looked_at = -1.0, 0.0, 0.0
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(config)).encode() + b"\n")
            self._process.stdin.flush()

    def ended(self) -> str | None:
        status = self._process.poll()
        if status is None:
            return self._stopped()
        self._finish()
        return f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}"

    def kill(self) -> None:
        self._process.kill()
        self._finish()

    def wait(self, timeout_s: float) -> None:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._finish()

    def effort_s(self) -> float | None:
        """A process that wants a processor and gets none, on a machine that is too busy, is as good as one that works."""
        seen, now = effort_s(self._process.pid), time.monotonic()
        if seen is None:
            return None
        if seen != self._worked_s:
            self._worked_s, self._looked_at = seen, now
        elif now - self._looked_at > STARVED_S:
            self._starved_s += (now - self._looked_at) * wants_to_run(self._process.pid)
            self._looked_at = now
        return seen + self._starved_s

    def must_move(self) -> bool:
        return False

    def _stopped(self) -> str | None:
        if not is_stopped(self._process.pid):
            self._stopped_at = None
            return None
        now = time.monotonic()
        self._stopped_at = now if self._stopped_at is None else self._stopped_at
        if now - self._stopped_at < STOPPED_S:
            return None
        self.kill()
        return "it was stopped by a signal"

    def _finish(self) -> None:
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
