"""Frames between the thread that receives them and the one that works on them."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from leadline.streaming.tuned import WAITING

T = TypeVar("T")


@dataclass
class _Waiting(Generic[T]):
    """An item that may wait from one time of the frames' clock to another, and no longer than to one of the computer's."""

    item: T
    since_s: float
    until_s: float
    at_latest_s: float

    def is_over(self, now_s: float) -> bool:
        """Whether it has waited long enough; also if the frames' clock was set back, or stands still for too long."""
        return not self.since_s <= now_s < self.until_s or monotonic() >= self.at_latest_s


class WaitingFrames(Generic[T]):
    """A few frames of one or more streams. Each may wait a while for what belongs to it; a newer one never waits for an older,
    and no stream for another.

    ``put`` never blocks. ``dropped`` counts frames that had to go.

    Args:
        lacks: Whether a frame still lacks something that is to come; asked again whenever :meth:`look_again` is called.
        capacity: Frames of a stream kept at most; the oldest goes.
        now_s: The clock by which frames wait, seconds; that of a simulation may run faster or slower than the computer's.
    """

    def __init__(
        self,
        lacks: Callable[[T], Any] = lambda _: False,
        capacity: int = 24,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._lacks = lacks
        self._now_s = now_s
        self._condition = threading.Condition()
        self._streams: dict[str, deque[_Waiting[T]]] = defaultdict(deque)
        self._capacity = capacity
        self._one_by_one = True
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        with self._condition:
            return sum(map(len, self._streams.values()))

    def put(self, item: T, patience_s: float = 0.0, stream: str = "") -> None:
        """Offer a frame of a stream that may wait for so long at most."""
        with self._condition:
            waiting = self._streams[stream]
            if (
                not self._one_by_one and waiting and not self._lacks(item)
            ):  # no older one will be taken: free their memory
                self.dropped += len(waiting)
                waiting.clear()
            now_s = self._now_s()
            at_latest_s = monotonic() + max(WAITING.longest_s, patience_s)
            waiting.append(_Waiting(item, now_s, now_s + patience_s, at_latest_s))
            if len(waiting) > self._capacity:
                waiting.popleft()
                self.dropped += 1
            self._condition.notify()

    def look_again(self) -> None:
        """Something has come that a frame may have waited for."""
        with self._condition:
            self._condition.notify()

    def take(self, timeout_s: float, in_order: bool = False) -> list[T]:
        """The next frames to work on, as soon as there is one: at most one of each stream. Empty when closed or after ``timeout_s``.

        Args:
            timeout_s: Longest time to wait.
            in_order: The taker keeps up with the frames: give those of a stream one by one. Else the newest that lacks nothing,
                or has waited long enough; those before it are dropped.
        """
        end_s = monotonic() + timeout_s
        with self._condition:
            self._one_by_one = in_order
            while not self._closed:
                now_s = self._now_s()
                taken = [self._take(waiting, now_s, in_order) for waiting in self._streams.values()]
                found = [one.item for one in taken if one is not None]
                left_s = end_s - monotonic()
                if found or left_s <= 0:
                    return found
                if any(self._streams.values()):
                    left_s = min(left_s, WAITING.look_again_s)
                self._condition.wait(left_s)
            return []

    def _take(self, waiting: deque[_Waiting[T]], now_s: float, in_order: bool) -> _Waiting[T] | None:
        chosen = self._choose(waiting, now_s, in_order)
        if chosen is None:
            return None
        for _ in range(chosen):
            waiting.popleft()
            self.dropped += 1
        return waiting.popleft()

    def _choose(self, waiting: deque[_Waiting[T]], now_s: float, in_order: bool) -> int | None:
        candidates = range(len(waiting)) if in_order else reversed(range(len(waiting)))
        for index in candidates:
            one = waiting[index]
            if one.is_over(now_s) or not self._lacks(one.item):
                return index
            if in_order:
                return None
        return None

    def clear(self, stream: str | None = None) -> None:
        """Forget the waiting frames, of all streams or of one, without counting them as dropped."""
        with self._condition:
            for name, waiting in self._streams.items():
                if stream is None or name == stream:
                    waiting.clear()

    def close(self) -> None:
        """Wake every taker for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
