"""Threads that are there before they are needed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Crew:
    """Does things in threads that were started at the beginning.

    A machine without memory gives no new threads, and Python's ``Thread.start`` may then wait for one for ever: whoever
    must not wait does not start threads when it needs them.

    Args:
        count: Of threads. With all of them at work, what comes next waits.
        name: Of theirs.
    """

    def __init__(self, count: int, name: str) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def do(self, task: Callable[[], None]) -> None:
        """Do it as soon as one of them has time; it must not raise."""
        self._tasks.put(task)

    def close(self, timeout_s: float = 2.0) -> None:
        """Let them go when they are done with what they have."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
