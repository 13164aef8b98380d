"""Structured logs: an event and its fields, as JSON lines or as text.

Whoever logs never waits for whoever reads: lines go through a bounded queue to a thread that writes them. When nobody
reads standard error, lines are dropped and counted; an event that repeats too often is counted, too.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import queue
import sys
import time
from collections import defaultdict
from logging.handlers import QueueHandler, QueueListener
from typing import Any

LOGGER = logging.getLogger("leadline.serving")

QUEUE_LINES = 2000
#: Of one event, warnings and errors are written so often in so many seconds; the rest are counted.
MOST_REPEATS, REPEATS_S = 50, 10.0
FLUSH_S = 1.0


def log(event: str, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Log an event. Fields never hold pixels, keys or secrets."""
    LOGGER.log(level, event, extra={"fields": fields}, exc_info=exc_info)


def configure(style: str, level: str) -> None:
    """Log to standard error, ``style`` "json" or "text", from ``level`` up."""
    handler = _Dropping()
    handler.setFormatter(_Json() if style == "json" else _Text())
    handler.addFilter(_Repeats())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


def dropped() -> int:
    """Lines that were never written, because nobody read."""
    return sum(handler.dropped for handler in LOGGER.handlers if isinstance(handler, _Dropping))


class StandardError(io.TextIOBase):
    """Takes the place of ``sys.stderr``, so that a library's warning does not wait for a reader either."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.strip():
            log("stderr", logging.WARNING, text=text.rstrip()[:2000])
        return len(text)


class _Dropping(QueueHandler):
    """Formats here, writes in a thread, and drops what does not fit between."""

    def __init__(self) -> None:
        self._lines: queue.Queue[Any] = queue.Queue(QUEUE_LINES)
        super().__init__(self._lines)
        self.dropped = 0
        QueueListener(self._lines, logging.StreamHandler(sys.__stderr__)).start()
        atexit.register(self.finish)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        line = logging.makeLogRecord({**vars(record), "exc_info": None, "exc_text": None, "args": None})
        line.msg = self.format(record)
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def finish(self) -> None:
        """Give what was logged a moment to be written."""
        end = time.monotonic() + FLUSH_S
        while not self._lines.empty() and time.monotonic() < end:
            time.sleep(0.01)


class _Repeats(logging.Filter):
    """Lets the first of many through, and tells how many of them it held back."""

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[str, float] = defaultdict(float)
        self._seen: dict[str, int] = defaultdict(int)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        event = record.getMessage()
        if record.created - self._since[event] > REPEATS_S:
            held_back = self._seen[event] - MOST_REPEATS
            if held_back > 0:
                record.fields = {**getattr(record, "fields", {}), "held_back": held_back}
            self._since[event], self._seen[event] = record.created, 0
        self._seen[event] += 1
        return self._seen[event] <= MOST_REPEATS


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        line = f"{_stamp(record)} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
