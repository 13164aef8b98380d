"""Which worker computes what next. No sockets, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.homes import Homes
from leadline.serving.server.pool import Pool
from leadline.serving.server.slots import Slot
from leadline.serving.server.tuned import WORK

#: A worker stays with its loaded models for this many times what loading takes while clients ask for them, who may be
#: away for a moment between two requests. Where that would be longer than the seconds, it stays for them, or the second
#: number of loads: of its time, two thirds and more go into answers.
STAY_LOADS, LEAST_LOADS, LONGEST_STAY_S, GAP_S = 4.0, 2.0, 5.0, 0.05


class Scheduler:
    """Gives batches to workers.

    Attributes:
        holding: A worker waits a moment for clients of the model that it has.
    """

    def __init__(self, batcher: Batcher, pool: Pool) -> None:
        self._batcher, self._pool = batcher, pool
        self.holding = False
        self._homes, self._forgot_at = Homes(), -1.0

    def batches(self, now: float) -> Iterator[tuple[Slot, list[Ticket]]]:
        """Idle workers and what each shall compute. Whoever asks starts one before asking for the next."""
        idle = self._pool.idle()
        self.holding = False
        self._find_homes(now)
        if not idle:
            yield from self._interruptions(now)
            return
        self._share_workers(now)
        while idle and (choice := self._choose(idle, now)):
            slot, models = choice
            batch = self._batcher.next_batch(now, models)
            if not batch:
                return
            idle.remove(slot)
            self._settle(slot, batch, now)
            yield slot, batch
            self._share_workers(now)
            self._find_homes(now)

    def _interruptions(self, now: float) -> Iterator[tuple[Slot, list[Ticket]]]:
        """Small batches for workers that are at a large one of other clients."""
        self._batcher.full = self._pool.memory.slow_readers()
        for slot in self._pool.interruptible():
            if slot.batch is not None and slot.batch.has_had_its_time(now, self._batcher.number_about(now)):
                most = WORK.small_share * slot.batch.cost
                if small := self._batcher.small_batch(now, slot.models, slot.clients, most, slot.name):
                    self._settle(slot, small, now)
                    yield slot, small

    def _find_homes(self, now: float) -> None:
        """Where the films are whose frames wait, and which of these workers are at something."""
        if now - self._forgot_at > 1.0:
            self._forgot_at = now
            self._homes.forget(now)
        films = [ticket for ticket in self._batcher.waiting() if ticket.film is not None]
        if not films:
            return
        there = {slot.name for slot in self._pool.slots if slot.state in ("idle", "busy") and not slot.leaving}
        for ticket in films:
            home = self._homes.of(ticket.film) if ticket.film is not None else None
            ticket.home = home if home in there else None
        self._batcher.away = frozenset(there - {slot.name for slot in self._pool.idle()})

    def _settle(self, slot: Slot, batch: list[Ticket], now: float) -> None:
        for ticket in batch:
            if ticket.film is not None:
                self._homes.settle(ticket.film, slot.name, now)

    def _share_workers(self, now: float) -> None:
        """While others are about, no client has all workers: large requests of one never keep the last from a small one.
        Who does not read what was computed for him gets nothing more."""
        self._batcher.full = self._pool.memory.slow_readers()
        if len(self._pool.slots) < 2:
            return
        up = sum(slot.state in ("idle", "busy") for slot in self._pool.slots)
        held = Counter(client for slot in self._pool.slots for client in slot.clients)
        self._batcher.full |= frozenset(
            client for client, workers in held.items() if 1 < up <= workers + 1 and self._batcher.others(client, now)
        )

    def _choose(self, idle: list[Slot], now: float) -> tuple[Slot, frozenset[str] | None] | None:
        """The worker that goes on, and the models it should keep to (None: any); None to wait a moment."""
        leader = self._batcher.leader()
        if leader is None:
            return None
        if leader.home is not None:
            return next((slot, None) for slot in idle if slot.name == leader.home)
        warm = [slot for slot in idle if leader.request.model in slot.models]
        slot = warm[0] if warm else min(idle, key=lambda s: len(s.models))
        stay_s = min(STAY_LOADS * slot.load_s, max(LONGEST_STAY_S, LEAST_LOADS * slot.load_s))
        if warm or not slot.models or leader.attempts or now - slot.loaded_at > stay_s:
            return slot, None
        if any(ticket.ready and ticket.request.model in slot.models for ticket in self._batcher.waiting()):
            return slot, slot.models
        self.holding = now - slot.rested_at < GAP_S
        return None if self.holding else (slot, None)
