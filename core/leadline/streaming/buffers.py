"""Stamped buffers, rates and losses: the small machinery of a stream."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from leadline.streaming.tuned import LOSS

T = TypeVar("T")


class StampedBuffer(Generic[T]):
    """The last few items of a stream by their time stamps; finds the one nearest to another stream's stamp.

    When time jumps back by more than ``reset_ns`` (a bag restarts, a simulation is reset) it starts afresh.

    Args:
        capacity: Items kept.
        reset_ns: See above.
        now_s: The clock by which a stream is late or silent, seconds; it should run as fast as the stamps do.
    """

    def __init__(self, capacity: int, reset_ns: int = 1_000_000_000, now_s: Callable[[], float] = monotonic) -> None:
        self._capacity = capacity
        self._reset_ns = reset_ns
        self._now_s = now_s
        self._items: list[tuple[int, int, T]] = []
        self._serial = 0
        self._arrived_s = 0.0
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
            self._arrived_s = self._now_s()
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

    def newest_ns(self) -> int:
        """Stamp of the newest item; 0 when there is none."""
        with self._lock:
            return self._items[-1][0] if self._items else 0

    def better_to_come(self, stamp_ns: int, patience_s: float, tolerance_s: float) -> bool:
        """Whether an item nearer to ``stamp_ns`` than all that are here may come within ``patience_s``.

        Judged by the rhythm of the stamps so far. Not if the stream is silent, or so far behind (another clock) that what
        comes within that time is not within ``tolerance_s`` either.
        """
        with self._lock:
            stamps = np.array([entry[0] for entry in self._items], np.int64)
            silent_s = self._now_s() - self._arrived_s
        if not len(stamps) or stamps[-1] >= stamp_ns:
            return False
        behind_s = (stamp_ns - int(stamps[-1])) * 1e-9
        if len(stamps) < 3:
            return behind_s > tolerance_s and silent_s < patience_s
        period_s = max(float(np.median(np.diff(stamps))) * 1e-9, 1e-3)
        if silent_s > 3 * period_s + patience_s or behind_s - patience_s - period_s > tolerance_s:
            return False
        return abs(behind_s - period_s) < behind_s

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


class RunningMean:
    """Mean of a few numbers, later one in which the newest have the greatest weight.

    Args:
        newest_share: Weight of the newest number once there are more than its inverse.
    """

    def __init__(self, newest_share: float) -> None:
        self._newest_share = newest_share
        self._count = 0
        self.value = 0.0

    def add(self, number: float) -> None:
        """Count one more in."""
        self._count += 1
        self.value += (number - self.value) * max(1.0 / self._count, self._newest_share)


class RateMeter:
    """Events per second over the last few seconds."""

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


class LossMeter:
    """Share of a regular stream's messages that did not arrive, from the stamps of those that did.

    A sensor's rhythm is regular: intervals between what arrives are whole multiples of its period. The period is the longest
    that explains them, so even when one in twenty arrives the share comes out right. (Every second message lost without
    exception looks like a sensor of half the rate; ``companion`` tells: a small topic that the same sensor sends with each.)
    """

    def __init__(self, size: int = 150, keep_s: float = 60.0) -> None:
        self._stamps: deque[float] = deque(maxlen=size)
        self._companions: deque[float] = deque(maxlen=size)
        self._keep_s = keep_s

    def tick(self, stamp_s: float) -> None:
        """A message of that stamp arrived."""
        if self._stamps and stamp_s <= self._stamps[-1]:
            if stamp_s > self._stamps[-1] - 1.0:
                return  # late or twice: it says nothing about the rhythm
            self._stamps.clear()
            self._companions.clear()
        self._stamps.append(stamp_s)
        while self._stamps[0] < stamp_s - self._keep_s:
            self._stamps.popleft()

    def companion(self, stamp_s: float) -> None:
        """A message that is sent with each of the stream's arrived."""
        if not self._companions or stamp_s > self._companions[-1]:
            self._companions.append(stamp_s)

    def share(self) -> float:
        """0 for a steady stream, and as long as fewer than nine came."""
        by_companion = self._by_companion()
        if by_companion is not None:
            return by_companion
        intervals = np.diff(np.array(self._stamps))
        if intervals.size < 8:
            return 0.0
        return float(1.0 - intervals.size / np.rint(intervals / _period_of(intervals)).clip(1.0).sum())

    def _by_companion(self) -> float | None:
        """Of the companions between the first and the last message, how many came without theirs."""
        if len(self._companions) < 9 or len(self._stamps) < 2:
            return None
        stamps = np.array(self._stamps)
        stamps = stamps[(stamps >= self._companions[0]) & (stamps <= self._companions[-1])]
        if not len(stamps):
            return None
        companions = np.array([one for one in self._companions if self._stamps[0] <= one <= self._stamps[-1]])
        nearest = np.abs(companions[None, :] - stamps[:, None]).min(axis=1) if len(companions) else np.ones(1)
        if len(companions) < 9 or np.median(nearest) > 1e-4:  # they are not sent together
            return None
        return float(max(0.0, 1.0 - len(stamps) / len(companions)))


def _period_of(intervals: npt.NDArray[np.float64]) -> float:
    """The longest period of which all intervals are whole multiples; the median if there is none."""
    ascending = np.sort(intervals)
    starts = {float(np.median(ascending)), *(float(np.quantile(ascending, q)) for q in (0.0, 0.05, 0.1, 0.25))}
    candidates = sorted((start / n for start in starts for n in range(1, LOSS.divisors + 1)), reverse=True)
    fits = float(np.clip(LOSS.chance * (1 - 1.8 / np.sqrt(len(intervals))), LOSS.least_fit, LOSS.most_fit))
    for candidate in candidates:
        if candidate < 1e-3:
            break
        period = _refined(candidate, ascending)
        misfit = intervals / period - np.rint(intervals / period)
        if np.rint(ascending[0] / period) >= 1 and float(np.sqrt(np.mean(misfit**2))) < fits:
            return period
    return float(np.median(intervals))


def _refined(period: float, ascending: npt.NDArray[np.float64]) -> float:
    """The period again from short intervals to long: what it is off by grows with the multiple."""
    for count in (max(1, len(ascending) // 4), max(1, len(ascending) // 2), len(ascending)):
        used = ascending[:count]
        multiples = np.rint(used / period).clip(1.0)
        period = float((used * multiples).sum() / (multiples * multiples).sum())
    return period


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
    """Counts problems by kind and says whether a kind is new, so that each is logged once.

    Args:
        most_kinds: What comes after so many kinds is counted as `OTHERS`: names in messages are anybody's to choose.
    """

    OTHERS = "other problems"

    def __init__(self, most_kinds: int = 100) -> None:
        self._counts: Counter[str] = Counter()
        self._most_kinds = most_kinds
        self._lock = threading.Lock()

    def note(self, kind: str) -> bool:
        """Count one more of ``kind``; True the first time."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= self._most_kinds:
                kind = self.OTHERS
            self._counts[kind] += 1
            return self._counts[kind] == 1

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
