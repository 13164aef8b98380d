"""Whether the front's memory runs away. No sockets, no clock."""

from __future__ import annotations

from leadline.serving.server.tuned import FRONT


class Growth:
    """How much memory came since the beginning: a program that runs a server in a thread may hold as much as it likes before.

    Args:
        most_bytes: What may come.
        held_bytes: What the process holds now.
    """

    def __init__(self, most_bytes: int, held_bytes: int) -> None:
        self._most_bytes, self._own_bytes = most_bytes, held_bytes
        self._in_vain = 0

    def is_too_much(self, held_bytes: int) -> bool:
        """Whether to free memory by dropping connections; not for ever if that frees none, as then it is not theirs."""
        self._own_bytes = min(self._own_bytes, held_bytes)
        if held_bytes - self._own_bytes <= self._most_bytes:
            self._in_vain = 0
            return False
        self._in_vain += 1
        if self._in_vain <= FRONT.drops_in_vain:
            return True
        self._own_bytes, self._in_vain = held_bytes, 0
        return False
