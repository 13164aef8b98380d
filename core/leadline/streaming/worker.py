"""The thread that owns the model: loads it, feeds it the newest frames, survives its failures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from leadline.errors import Cancelled, LeadlineError
from leadline.streaming.buffers import RateMeter, RunningMean
from leadline.streaming.tuned import WORKER
from leadline.streaming.waiting import WaitingFrames

F = TypeVar("F")
M = TypeVar("M")


class StreamWorker(Generic[F, M]):
    """Runs ``process(model, frames)`` in its own thread on the newest frames, one of each stream that has one.

    ``put`` never blocks: while the model works, a newer frame replaces the one that waits, so that no queue grows.
    Loading happens in the same thread, so a model is never swapped under a frame; frames go on with the old model
    until the new one is there, and keep the old one if the new one fails.

    A frame may wait a while for what belongs to it. Where the model is faster than the frames come, they are taken one by one;
    else the newest that lacks nothing.

    Args:
        process: Handles frames, and returns which of them failed and why; what it raises all of them failed of.
        on_failure: Told of every frame that failed, except by :class:`~leadline.errors.Cancelled`.
        on_load_failure: Told every exception of a loader.
        lacks: Whether a frame still lacks something that is to come.
        now_s: The clock by which frames wait for it, seconds.
    """

    def __init__(
        self,
        process: Callable[[M, list[F]], Sequence[tuple[F, Exception]]],
        on_failure: Callable[[F, Exception], None],
        on_load_failure: Callable[[Exception], None],
        lacks: Callable[[F], Any] = lambda _: False,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._process = process
        self._on_failure = on_failure
        self._on_load_failure = on_load_failure
        self._frames: WaitingFrames[F] = WaitingFrames(lacks, now_s=now_s)
        self._arrivals: dict[str, RateMeter] = {}
        self._busy_s = RunningMean(WORKER.newest_share)  # time for one frame of each stream
        self._loader: Callable[[], M] | None = None
        self._wanted: Callable[[], M] | None = None
        self._settled = threading.Event()
        self._settled.set()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_s = 1.0
        self._retry_at: float | None = None
        self._next_start = 0.0
        self.min_period_s = 0.0
        self.model: M | None = None
        self._thread = threading.Thread(target=self._run, name="leadline-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were replaced by a newer one before the model was free."""
        return self._frames.dropped

    @property
    def loading(self) -> bool:
        return not self._settled.is_set()

    @property
    def stopping(self) -> bool:
        """Whether long work should give up."""
        return self._stopping.is_set()

    def put(self, frame: F, patience_s: float = 0.0, stream: str = "") -> None:
        """Offer a frame of a stream that may wait for so long at most; returns at once."""
        self._arrivals.setdefault(stream, RateMeter()).tick()
        self._frames.put(frame, patience_s, stream)

    def look_again(self) -> None:
        """Something has come that a frame may have waited for."""
        self._frames.look_again()

    def clear(self, stream: str | None = None) -> None:
        """Forget the frames that wait, of all streams or of one."""
        self._frames.clear(stream)

    def load(self, loader: Callable[[], M]) -> None:
        """Ask for another model; returns at once, see :meth:`wait_loaded`."""
        with self._lock:
            self._wanted = loader
            self._settled.clear()

    def wait_loaded(self, timeout_s: float) -> bool:
        """Whether the last :meth:`load` has ended, well or badly (then :attr:`model` is the older one or None)."""
        return self._settled.wait(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the thread; False if the model still holds it after ``timeout_s`` (it then ends with the process)."""
        self._stopping.set()
        self._frames.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self.model = None
        return ended

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._load_if_asked()
            wait_s = self._next_start - monotonic()
            if wait_s > 0:  # rate limit: frames go on replacing each other meanwhile
                self._stopping.wait(min(wait_s, 0.1))
                continue
            frames = self._frames.take(0.1, in_order=self._keeps_up())
            if not frames or self.model is None or self.stopping:
                continue
            started_s = monotonic()
            self._next_start = started_s + self.min_period_s
            self._handle(self.model, frames)
            spent_s = max(monotonic() - started_s, self.min_period_s)
            self._busy_s.add(spent_s)

    def _keeps_up(self) -> bool:
        """Whether frames are handled faster than they come."""
        rate_hz = max((arrivals.rate_hz() for arrivals in list(self._arrivals.values())), default=0.0)
        return 0 < self._busy_s.value * rate_hz < WORKER.keeps_up

    def _handle(self, model: M, frames: list[F]) -> None:
        try:
            failed: Sequence[tuple[F, Exception]] = self._process(model, frames)
        except Cancelled:
            return
        except Exception as error:  # a model may raise anything; the stream goes on
            failed = [(frame, error) for frame in frames]
        for frame, reason in failed:
            self._on_failure(frame, reason)
        if len(failed) < len(frames):
            self._failures = 0
            self._pause_s = 1.0
        # A LeadlineError is about this frame or these settings; anything else may have broken the model.
        elif not all(isinstance(reason, LeadlineError) for _, reason in failed):
            self._failures += 1
            if self._failures >= WORKER.failures_before_reload and self._retry_at is None:
                self._retry_at = monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, WORKER.longest_pause_s)

    def _load_if_asked(self) -> None:
        if self._retry_at is not None and monotonic() >= self._retry_at and self._loader is not None:
            self._retry_at = None
            self._failures = 0
            with self._lock:
                self._wanted = self._wanted or self._loader
        with self._lock:
            loader, self._wanted = self._wanted, None
        if loader is None:
            return
        try:
            self.model = loader()
            self._busy_s = RunningMean(WORKER.newest_share)
            self._loader = loader
        except Exception as error:  # missing weights, no memory, a driver that is gone: the old model stays
            self._on_load_failure(error)
        with self._lock:
            if self._wanted is None:
                self._settled.set()
