"""Requests in hand: what their clients hear of them, and how each of them ends, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import WARNING
from typing import Any

from leadline.serving.logs import log
from leadline.serving.protocol import messages, wire
from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.entrance import Entrance
from leadline.serving.server.metrics import Metrics, key_name
from leadline.serving.server.pictures import Pictures
from leadline.serving.server.pool import Pool

#: A client with a request in hand hears from the server at least this often.
TICK_S = 1.0
#: A request that was with this many workers when they died is given up.
MAX_ATTEMPTS = 2
#: A running request whose worker has given no sign of life for so long is said to be ``silent``.
QUIET_S = 2.0


class Ledger:
    """All tickets from their admission to their end. The pool of workers tells it what becomes of them.

    Args:
        batcher: Where they wait.
        entrance: The way to their clients.
        metrics: Counted in.
        clock: Tells the time, seconds.

    Attributes:
        tickets: By what tells them from all others.
    """

    def __init__(self, batcher: Batcher, entrance: Entrance, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._batcher, self._entrance, self._metrics, self._clock = batcher, entrance, metrics, clock
        self.tickets: dict[tuple[str, str], Ticket] = {}

    def attach(self, pool: Pool, pictures: Pictures) -> None:
        """Who computes tickets and who holds their decoded pictures: both are made after the ledger that hears of them."""
        self._pool, self._pictures = pool, pictures

    def __len__(self) -> int:
        return len(self.tickets)

    def end_late(self, now: float) -> None:
        """End those whose deadline has passed."""
        for ticket in [ticket for ticket in self.tickets.values() if ticket.deadline <= now]:
            reason = f"no result within {ticket.request.deadline_s or 0.0:g} s"
            self.drop(ticket, messages.Failure(ticket.request.id, "deadline", reason))

    def tell(self, now: float) -> None:
        """Queue position or stage, so that clients know that we and they are alive."""
        for ticket in list(self.tickets.values()):
            work = ticket.data
            if now - work.told >= TICK_S:
                self._tell_one(ticket, now)

    def _tell_one(self, ticket: Ticket, now: float) -> None:
        work = ticket.data
        work.told = now
        running = work.started is not None
        position = 0 if running else self._batcher.position(ticket)
        stage = "silent" if running and self._pool.quiet_s(ticket, now) > QUIET_S else work.stage
        header = wire.reply_header(messages.Progress(ticket.request.id, stage, work.fraction, position))
        if not self._entrance.send(work.to, header):
            self.drop(ticket, None)

    def on_progress(self, ticket: Ticket, stage: str, fraction: float) -> None:
        """From the pool: a running ticket got further."""
        ticket.data.stage, ticket.data.fraction = stage, fraction
        if ticket.request.progress:
            self._tell_one(ticket, self._clock())

    def on_result(self, ticket: Ticket, result: dict[str, Any], bodies: Sequence[Any]) -> Sequence[Any]:
        """From the pool: a ticket has its maps; returns trackers of their memory."""
        now = self._clock()
        header = {"op": "result", "id": ticket.request.id, **result}
        queued = (ticket.data.started or now) - ticket.arrived
        header["meta"] = {**result["meta"], "queue_seconds": round(queued, 6)}
        delivered = self._entrance.send(ticket.data.to, header, bodies)  # first of all: somebody waits
        self._forget(ticket)
        self.count("ok", ticket.request.model or "", ticket.client)
        self._metrics.count("sent_bytes_total", by=sum(len(body) for body in bodies))
        self._metrics.observe("request_seconds", now - ticket.arrived, model=ticket.request.model or "")
        log("done", client=ticket.client, job=ticket.request.id, trace=ticket.request.trace, model=ticket.request.model,
            queue_s=round(queued, 4), total_s=round(now - ticket.arrived, 4))  # fmt: skip
        if not delivered:
            return []
        return [body.tracker for body in bodies if body.tracker is not None]

    def on_failed(self, ticket: Ticket, code: str, message: str) -> None:
        """From the pool: a ticket failed."""
        self.fail(ticket, code, message)

    def on_lost(self, tickets: list[Ticket]) -> None:
        """From the pool: a worker died with these. They get another chance, alone."""
        again = []
        for ticket in tickets:
            ticket.attempts += 1
            ticket.data.started, ticket.data.stage, ticket.data.fraction = None, "queued", 0.0
            if ticket.attempts >= MAX_ATTEMPTS:
                self.fail(ticket, "worker_lost", f"the process that computed this died {ticket.attempts} times")
            else:
                again.append(ticket)
        self._batcher.put_back(again)

    def fail(self, ticket: Ticket, code: str, message: str) -> None:
        """End a ticket that cannot be answered."""
        log(
            "failed",
            WARNING,
            client=ticket.client,
            job=ticket.request.id,
            trace=ticket.request.trace,
            code=code,
            reason=message,
        )
        self.end(ticket, messages.Failure(ticket.request.id, code, message))

    def drop(self, ticket: Ticket, failure: messages.Failure | None) -> None:
        """End a ticket, wherever it is, with an answer or (the client is gone) without."""
        if ticket.data.started is not None:
            self._pool.stop(ticket, self._clock())
        self.end(ticket, failure)

    def end(self, ticket: Ticket, failure: messages.Failure | None, removed: bool = False) -> None:
        """End a ticket that does not run. ``removed``: it is out of the queue already."""
        self._forget(ticket, removed)
        code = failure.code if failure is not None else "client_gone"
        self.count(code, ticket.request.model or "", ticket.client)
        if failure is not None:
            self._entrance.send(ticket.data.to, wire.reply_header(failure))

    def count(self, code: str, model: str, client: str) -> None:
        """How a request ended."""
        self._metrics.count("outcomes_total", code=code, model=model, client=key_name(client))

    def _forget(self, ticket: Ticket, removed: bool = False) -> None:
        if self.tickets.pop(ticket.data.key, None) is not None and not removed:
            self._batcher.remove(ticket)
        self._pictures.let_go(ticket)
        ticket.data.bodies = []
