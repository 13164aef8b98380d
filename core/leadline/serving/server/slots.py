"""Places for workers, and what those in them are at. No sockets, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from leadline.serving.server.batching import Ticket
from leadline.serving.server.copies import Copy
from leadline.serving.server.launch import Child
from leadline.serving.server.tuned import WORK
from leadline.serving.server.vitals import Vitals


@dataclass(eq=False)
class Batch:
    """Tickets that run together, the shared memory they take, and what has still to be copied there before they start."""

    number: int
    tickets: list[Ticket]
    rooms: list[int]
    left: set[int]
    step_s: float = math.inf
    stop_by: float | None = None
    cost: float = 0.0
    began: float = 0.0
    copies: list[Copy] = field(default_factory=list)
    aside_s: float = 0.0

    @property
    def clients(self) -> set[str]:
        """Whose they are."""
        return {ticket.client for ticket in self.tickets}

    def has_had_its_time(self, now: float, clients: int) -> bool:
        """Whether it may be interrupted again: of so many clients' time, including its own, it has had its part."""
        own_s = now - self.began - self.aside_s
        return self.aside_s <= own_s * max(1, clients - len(self.clients)) + WORK.ahead_s


@dataclass(eq=False)
class Slot:
    """A place for a worker, with its current occupant.

    ``state`` is ``down`` (nobody, another try at ``start_at``), ``starting``, ``idle`` or ``busy``; ``reason`` says why
    the last occupant is gone. ``leaving``: the occupant gets no more work. ``aside``: a small batch for which the occupant
    interrupts its large one.
    """

    index: int
    device: str
    name: str = ""
    child: Child | None = None
    vitals: Vitals | None = None
    state: str = "down"
    reason: str = ""
    batch: Batch | None = None
    aside: Batch | None = None
    models: frozenset[str] = frozenset()
    pid: int | None = None
    shares: bool = True
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    stillborn: int = 0
    loaded_at: float = -math.inf
    load_s: float = 0.0
    rested_at: float = 0.0
    leaving: bool = False

    def end(self, batch: Batch) -> None:
        """The occupant is done with a batch."""
        if batch is self.aside:
            self.aside = None
        else:  # a small one that came too late to interrupt it follows now
            self.batch, self.aside = self.aside, None
        self.state = "idle" if self.batch is None else "busy"

    @property
    def batches(self) -> list[Batch]:
        """What the occupant has."""
        return [batch for batch in (self.batch, self.aside) if batch is not None]

    @property
    def clients(self) -> set[str]:
        """Whose that is."""
        return {client for batch in self.batches for client in batch.clients}
