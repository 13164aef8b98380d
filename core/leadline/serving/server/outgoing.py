"""Memory of results that are on their way to clients: it is used again when it has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Leaving:
    trackers: Sequence[Any]
    rooms: Sequence[int]
    client: str
    nbytes: int


class Outgoing:
    """Results that clients have not taken yet.

    Args:
        give_back: Told each room of shared memory that is free again.
        most_bytes: What a client may leave untaken before it gets nothing more.
    """

    def __init__(self, give_back: Callable[[int], None], most_bytes: int) -> None:
        self._give_back, self._most_bytes = give_back, most_bytes
        self._leaving: list[_Leaving] = []

    def add(self, trackers: Sequence[Any], rooms: Sequence[int], client: str = "", nbytes: int = 0) -> None:
        """Something leaves; it has left when all trackers are done."""
        self._leaving.append(_Leaving(trackers, rooms, client, nbytes))

    def collect(self) -> None:
        """Use the memory of what has left again."""
        still = []
        for one in self._leaving:
            if all(tracker.done for tracker in one.trackers):
                for room in one.rooms:
                    self._give_back(room)
            else:
                still.append(one)
        self._leaving = still

    def slow_readers(self) -> frozenset[str]:
        """Clients that have left too much untaken."""
        untaken: Counter[str] = Counter()
        for one in self._leaving:
            untaken[one.client] += one.nbytes
        return frozenset(client for client, nbytes in untaken.items() if client and nbytes >= self._most_bytes)
