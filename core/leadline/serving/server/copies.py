"""Large bodies are copied into shared memory piece by piece: one of 100 MB at once would keep everybody waiting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Copy:
    """A copy that is under way: ``target`` and ``source`` are of one length, the first ``copied`` bytes are there."""

    target: memoryview
    source: memoryview
    copied: int = 0

    def go_on(self, nbytes: int) -> bool:
        """Copy up to so many bytes more; whether that was all."""
        end = min(self.copied + nbytes, len(self.source))
        self.target[self.copied : end] = self.source[self.copied : end]
        self.copied = end
        return end == len(self.source)
