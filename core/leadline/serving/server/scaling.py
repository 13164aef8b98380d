"""How many workers there should be. No sockets, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Scaler:
    """Follows the load: one worker for every ``per_worker`` requests in hand, within bounds.

    Attributes:
        least, most: Bounds; equal ones for a fixed number.
        per_worker: Requests in hand, waiting or running, that one worker is enough for.
        up_s: The load has to ask for more workers for so long.
        down_s: And for fewer for so long.
        wanted: Workers that there should be.
    """

    least: int
    most: int
    per_worker: float = 4.0
    up_s: float = 1.0
    down_s: float = 60.0

    def __post_init__(self) -> None:
        self.wanted = self.least
        self._more_since: float | None = None
        self._fewer_since: float | None = None
        self._most_lately = 0

    def look(self, now: float, in_hand: int) -> int:
        """Take the load in, and say how many workers there should be."""
        asked = min(self.most, max(self.least, math.ceil(in_hand / self.per_worker)))
        if asked > self.wanted:
            self._more_since = now if self._more_since is None else self._more_since
            if now - self._more_since >= self.up_s:
                self.wanted, self._more_since = asked, None
        else:
            self._more_since = None
        if asked < self.wanted:
            if self._fewer_since is None:
                self._fewer_since, self._most_lately = now, asked
            self._most_lately = max(self._most_lately, asked)
            if now - self._fewer_since >= self.down_s:  # as many as were needed at any time meanwhile
                self.wanted, self._fewer_since = self._most_lately, None
        else:
            self._fewer_since = None
        return self.wanted
