"""Bodies of requests while they are here: all together they are bounded, and nobody's slowness keeps others waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Body:
    """One of them.

    Attributes:
        received: What came so far.
        dropped: It had to make room for others.
    """

    received: bytearray = field(default_factory=bytearray)
    dropped: bool = False


class Uploads:
    """Where there are too many bytes, the largest body goes, so that small ones come through.

    Args:
        most_bytes: All of them together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bodies: set[Body] = set()

    @property
    def nbytes(self) -> int:
        """Bytes that are here."""
        return sum(len(body.received) for body in self._bodies)

    @contextmanager
    def body(self) -> Iterator[Body]:
        """A new one, which counts until it has been taken."""
        body = Body()
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.discard(body)

    def extend(self, body: Body, chunk: bytes) -> None:
        """More of a body comes; ``body.dropped`` says whether it was too much."""
        body.received += chunk
        while self.nbytes > self._most_bytes:
            largest = max(self._bodies, key=lambda one: len(one.received))
            largest.dropped = True
            largest.received = bytearray()
            if largest is body:
                return
