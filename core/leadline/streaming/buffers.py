"""Newest-frame slot, stamped buffer and rate statistics: the small machinery of a stream."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter, deque
from time import monotonic
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """One place for one item between two threads: a newer item replaces an older one that nobody took.

    ``put`` never blocks. ``dropped`` counts what was replaced.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Offer ``item``; True if an older one had to go."""
        with self._condition:
            replaced = self._item is not None
            self.dropped += replaced
            self._item = item
            self._condition.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """The newest item, as soon as there is one; None when closed or after ``timeout_s``."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Forget the waiting item without counting it as dropped."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """Wake every taker for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class StampedBuffer(Generic[T]):
    """The last few items of a stream by their time stamps; finds the one nearest to another stream's stamp.

    When time jumps back by more than ``reset_ns`` (a bag restarts, a simulation is reset) it starts afresh.
    """

    def __init__(self, capacity: int, reset_ns: int = 1_000_000_000) -> None:
        self._capacity = capacity
        self._reset_ns = reset_ns
        self._items: list[tuple[int, int, T]] = []
        self._serial = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, stamp_ns: int, item: T) -> bool:
        """Keep ``item``; True if time had jumped back and everything older was forgotten."""
        with self._lock:
            jumped = bool(self._items) and stamp_ns < self._items[-1][0] - self._reset_ns
            if jumped:
                self._items.clear()
            self._serial += 1  # makes tuples comparable without comparing items
            insort(self._items, (stamp_ns, self._serial, item))
            del self._items[: -self._capacity]
            return jumped

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> tuple[int, T] | None:
        """(stamp, item) nearest to ``stamp_ns``, if within ``tolerance_ns``."""
        with self._lock:
            if not self._items:
                return None
            found_ns, _, item = min(self._items, key=lambda entry: abs(entry[0] - stamp_ns))
        return (found_ns, item) if abs(found_ns - stamp_ns) <= tolerance_ns else None

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


class RateMeter:
    """Events per second over the last few seconds, and the longest recent gap between two of them."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque()
        self._started: float | None = None

    def tick(self, now_s: float | None = None) -> None:
        now_s = monotonic() if now_s is None else now_s
        if self._started is None:
            self._started = now_s
        self._times.append(now_s)
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._times and self._times[0] < now_s - self._window_s:
            self._times.popleft()

    def rate_hz(self, now_s: float | None = None) -> float:
        """Mean rate over the window; 0 when nothing came."""
        now_s = monotonic() if now_s is None else now_s
        self._forget(now_s)
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def age_s(self, now_s: float | None = None) -> float | None:
        """Seconds since the last event inside the window; None when there was none."""
        now_s = monotonic() if now_s is None else now_s
        self._forget(now_s)
        return now_s - self._times[-1] if self._times else None

    def gap_share(self) -> float:
        """Share of expected events that are missing, judged by the median interval; 0 for a steady stream.

        A camera's rhythm is regular, so an interval of n median intervals means that n - 1 events were lost.
        """
        intervals = np.diff(np.array(self._times))
        if intervals.size < 8:
            return 0.0
        period = max(float(np.median(intervals)), 1e-6)
        expected = np.maximum(np.rint(intervals / period), 1.0).sum()
        return float(1.0 - intervals.size / expected)


class Window:
    """Percentiles of the last ``size`` values."""

    def __init__(self, size: int = 200) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        self._values.append(value)

    def percentile(self, percent: float) -> float:
        """0 when empty."""
        return float(np.percentile(np.array(self._values), percent)) if self._values else 0.0

    def __len__(self) -> int:
        return len(self._values)


class Complaints:
    """Counts problems by kind and says whether a kind is new, so that each is logged once."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, kind: str) -> bool:
        """Count one more of ``kind``; True the first time."""
        with self._lock:
            self._counts[kind] += 1
            return self._counts[kind] == 1

    def forget(self, kind: str) -> None:
        """The problem is over: the next one of this kind is new again (its count stays)."""
        with self._lock:
            self._counts.pop(kind, None)

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
