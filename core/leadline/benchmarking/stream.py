"""What a camera sees: latency, jitter and dropped frames of predictions that always take the newest frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StreamReport:
    """One run of a stream.

    Attributes:
        rate_hz: Of the camera.
        seconds: How long it ran.
        frames, predicted, dropped: Frames the camera gave, those that were predicted, and those that a newer one replaced
            before their turn.
        fps: Predictions a second.
        latency_p50_ms, latency_p95_ms, latency_max_ms: From a frame's stamp to its map.
        jitter_ms: Standard deviation of the time between two maps.
        cpu_share: Processor seconds a second of this process; 1 is one whole core. None where others do the work.
    """

    rate_hz: float
    seconds: float
    frames: int
    predicted: int
    dropped: int
    fps: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_max_ms: float
    jitter_ms: float
    cpu_share: float | None

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def as_line(self) -> str:
        """For people."""
        share = "" if self.cpu_share is None else f", {self.cpu_share:.2f} cores busy"
        return (
            f"{self.fps:.1f} of {self.rate_hz:g} frames/s, {self.dropped} of {self.frames} dropped; latency median "
            f"{self.latency_p50_ms:.0f} ms, 95 % {self.latency_p95_ms:.0f} ms, worst {self.latency_max_ms:.0f} ms; "
            f"jitter {self.jitter_ms:.0f} ms{share}"
        )


def run_stream(
    predict: Callable[[int], Any],
    rate_hz: float,
    seconds: float,
    own_work: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> StreamReport:
    """Predict the frames of a camera that gives one every 1 / ``rate_hz`` seconds, always the newest.

    Args:
        predict: Called with a frame's number; its result is the map. Call it once before, to warm up.
        rate_hz: Of the camera.
        seconds: How long.
        own_work: Whether this process does the work, so that its processor time says something.
        clock, sleep: Seconds, and waiting for them.
    """
    latencies: list[float] = []
    ends: list[float] = []
    last, dropped = -1, 0
    busy, started = time.process_time(), clock()
    frames = max(1, round(seconds * rate_hz))
    while last < frames - 1:
        now = clock() - started
        newest = min(int(now * rate_hz + 1e-9), frames - 1)
        if newest == last:
            sleep(max(0.0, (last + 1) / rate_hz - now))
            continue
        dropped += newest - last - 1
        last = newest
        predict(newest)
        ends.append(clock() - started)
        latencies.append(ends[-1] - newest / rate_hz)
    total = max(clock() - started, 1e-9)
    p50, p95 = (1e3 * float(np.percentile(latencies, share)) for share in (50, 95))
    return StreamReport(
        rate_hz=rate_hz,
        seconds=total,
        frames=frames,
        predicted=len(ends),
        dropped=dropped,
        fps=len(ends) / total,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_max_ms=1e3 * max(latencies),
        jitter_ms=1e3 * float(np.std(np.diff(ends))) if len(ends) > 1 else 0.0,
        cpu_share=(time.process_time() - busy) / total if own_work else None,
    )
