"""How one camera's frames fare: counts, times, and where their metres come from."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from time import monotonic
from typing import Any

from leadline.streaming.buffers import RateMeter, Window


class Tally:
    """Written by the thread that works on the camera's frames, read by /diagnostics."""

    def __init__(self) -> None:
        self.processed = 0
        self.failed = 0
        self.failing = ""  # what the last frame failed of; empty after a good one
        self.output_rate = RateMeter()
        self.latency_s = Window()  # from the image's arrival to its depth being published
        self.waited_s = Window()  # of it: until the work on it began
        self.model_s = Window()
        self.completion_s = Window()
        self.overhead_s = Window()  # everything else
        self.age_s = Window()  # from the image's stamp to its depth being published; needs a shared clock
        self.points_age_s = Window()  # image's time less the time of the points used with it
        self.evidence = ""
        self.not_metric = ""
        self.unchanged_since_s = monotonic()
        self._fingerprint = b""
        self._warnings: Counter[str] = Counter()
        self._lock = Lock()

    def note_failure(self, error: Exception) -> None:
        """A frame failed."""
        self.failed += 1
        self.failing = str(error).strip() or type(error).__name__

    def note_warning(self, text: str) -> None:
        """A frame's metres are less certain than they should be."""
        with self._lock:
            self._warnings[text] += 1

    def take_warnings(self) -> list[tuple[str, int]]:
        """(warning, number of frames) since the last call, the most frequent first."""
        with self._lock:
            found, self._warnings = self._warnings.most_common(), Counter()
        return found

    def watch_change(self, rgb: Any) -> None:
        """A live sensor never repeats itself bit by bit; a frozen one does."""
        fingerprint = rgb[::31, ::29].tobytes()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self.unchanged_since_s = monotonic()
