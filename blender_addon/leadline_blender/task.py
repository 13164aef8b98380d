# SPDX-License-Identifier: GPL-3.0-or-later
"""A piece of work in a thread, seen from Blender's main thread as a state that is asked for now and then.

The thread never touches `bpy`, and the main thread never waits for it: it calls :meth:`Task.tick` from a timer (or in a
loop, where there is no window), which takes a few microseconds.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, cast

from leadline.errors import Cancelled, LeadlineError

#: From this part and this time on, the time left is told.
_ENOUGH_FRACTION, _ENOUGH_S = 0.08, 2.0
#: How often a thread that waits for the main thread looks whether it should stop.
_ASK_AGAIN_S = 0.1

T = TypeVar("T")


class State(Enum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class _Call:
    """Something that a thread waits for the main thread to do."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.done = function, threading.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self.function()
        except Exception as error:  # it belongs to the thread, which waits for it
            self.error = error
        self.done.set()


class Report:
    """What the work may do while it runs: say how far it is, and learn that it should stop."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def progress(self, stage: str, fraction: float) -> None:
        self.events.put(("progress", (stage, fraction)))

    def on_main(self, function: Callable[[], T]) -> T:
        """What ``function`` gives when the main thread calls it at its next tick: the only way to `bpy`.

        Raises:
            Cancelled: The work should stop.
            Exception: Whatever ``function`` raises.
        """
        call = _Call(function)
        self.events.put(("call", call))
        while not call.done.wait(_ASK_AGAIN_S):
            self.check()
        if call.error is not None:
            raise call.error
        return cast(T, call.result)

    def check(self) -> None:
        """Raise Cancelled if the work should stop."""
        if self.stop.is_set():
            raise Cancelled("stopped")


class Part(Report):
    """The report of one part of some work, within that of the whole: number ``index`` of ``count``."""

    def __init__(self, whole: Report, index: int, count: int) -> None:
        self.stop, self.events = whole.stop, whole.events
        self._index, self._count, self._whole = index, count, whole

    def progress(self, stage: str, fraction: float) -> None:
        self._whole.progress(f"{self._index + 1} of {self._count}: {stage}", (self._index + fraction) / self._count)


Work = Callable[[Report], Any]


class Task:
    """Runs ``work`` in a thread of its own.

    Attributes:
        state: As of the last tick.
        stage, fraction: What it does now, for people, and how far it is (0 to 1).
        result: What the work returned; None until it is DONE.
        error: One sentence; empty unless FAILED.
        fix: The operator that helps against the error; empty if none is known.
    """

    def __init__(self, work: Work, title: str = "") -> None:
        self.title = title
        self.state = State.RUNNING
        self.stage, self.fraction = "starting", 0.0
        self.result: Any = None
        self.error = self.fix = ""
        self.started = time.monotonic()
        self._report = Report()
        self._thread = threading.Thread(target=self._run, args=(work,), name="leadline", daemon=True)
        self._thread.start()

    def tick(self) -> bool:
        """Take in what the thread said since the last tick. Returns whether anything changed."""
        changed = False
        while self.state is State.RUNNING:
            try:
                kind, value = self._report.events.get_nowait()
            except queue.Empty:
                break
            changed = True
            if kind == "progress":
                self.stage, self.fraction = value[0], min(max(float(value[1]), 0.0), 1.0)
            elif kind == "call":
                value.run()
            elif kind == "done":
                self.state, self.result, self.fraction = State.DONE, value, 1.0
            elif kind == "cancelled":
                self.state = State.CANCELLED
            else:
                self.state, (self.error, self.fix) = State.FAILED, value
        return changed

    def cancel(self) -> None:
        """Stop. Nobody waits for the thread: it ends at its next check, and what it brings then is thrown away."""
        self._report.stop.set()
        if self.state is State.RUNNING:
            self.state = State.CANCELLED

    def fail(self, error: str) -> None:
        """Stop because the main thread could not do its part."""
        self._report.stop.set()
        if self.state is State.RUNNING:
            self.state, self.error = State.FAILED, error

    def wait(self, interval_s: float = 0.02) -> State:
        """Tick until it ends: for background mode and tests, where nothing else would."""
        while self.state is State.RUNNING:
            if not self.tick():
                time.sleep(interval_s)
        return self.state

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread itself to end; for shutting down. Returns whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take if it goes on as it did; None while that is a guess."""
        elapsed = time.monotonic() - self.started
        if self.fraction < _ENOUGH_FRACTION or elapsed < _ENOUGH_S or self.fraction >= 1:
            return None
        return elapsed * (1 - self.fraction) / self.fraction

    @property
    def text(self) -> str:
        """What it does, how far it is and how long it will take."""
        left = self.seconds_left
        if left is None:
            return f"{self.stage} {self.fraction:.0%}" if self.fraction else self.stage
        return f"{self.stage} {self.fraction:.0%}, {_duration(left)} left"

    @property
    def line(self) -> str:
        """:attr:`text` for the status bar, with what it is about."""
        return f"{self.title}: {self.text}" if self.title else self.text

    def _run(self, work: Work) -> None:
        try:
            outcome = ("done", work(self._report))
        except Cancelled:
            outcome = ("cancelled", None)
        except LeadlineError as error:
            outcome = ("failed", (str(error), getattr(error, "fix", "")))
        except Exception as error:  # the thread has nobody else to tell
            outcome = ("failed", (f"{type(error).__name__}: {error}", ""))
        self._report.events.put(outcome)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{max(rest, 1)} s"
