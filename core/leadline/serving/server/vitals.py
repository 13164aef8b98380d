"""Whether a worker still does something. No sockets, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from leadline.serving.server.tuned import WORKERS


@dataclass
class Vitals:
    """What is known of one worker's life.

    A worker tells twice a second how often its loop has moved and what its process has done (CPU time, disk). A loop that
    neither moves nor does anything hangs; one that computes may take ``step_s`` for a step.

    Attributes:
        silence_s: Longest time without a word and without work.
        heard: When it last said something.
        moved: When its loop last moved.
        worked: When it last moved or did something.
    """

    silence_s: float
    heard: float
    moved: float = 0.0
    worked: float = 0.0
    _moves: int = -1
    _effort_s: float = 0.0
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self.moved = self.worked = self._looked = self.heard

    def hear(self, now: float) -> None:
        """It said something of its own accord."""
        self.heard = self.moved = self.worked = now

    def beat(self, now: float, moves: int, effort_s: float) -> None:
        """Its pulse."""
        self.heard = now
        if moves != self._moves:
            self._moves, self.moved, self.worked = moves, now, now
        self.look(now, effort_s)

    def look(self, now: float, effort_s: float | None) -> None:
        """What its process has done so far, as it or the operating system says."""
        if effort_s is None or effort_s < self._effort_s:
            return
        if effort_s - self._effort_s >= WORKERS.idle_share * max(0.1, now - self._looked):
            self.worked = now
        if effort_s > self._effort_s or now - self._looked > 1.0:
            self._effort_s, self._looked = effort_s, now

    def pardon(self, seconds: float) -> None:
        """For so long nobody listened."""
        self.heard, self.moved, self.worked = self.heard + seconds, self.moved + seconds, self.worked + seconds

    def quiet_s(self, now: float) -> float:
        """For how long it has given no sign of life."""
        return now - max(self.heard, self.worked)

    def complaint(self, now: float, step_s: float) -> str | None:
        """Why it should be replaced; None if it should not."""
        if now - self.worked > self.silence_s:
            silent = now - self.heard > self.silence_s
            return f"it {'fell silent' if silent else 'hangs'}: no sign of work for {now - self.worked:.1f} s"
        if now - self.moved > step_s:
            return f"one step took longer than {step_s:.0f} s"
        return None
