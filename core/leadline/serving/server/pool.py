"""The server's side of its workers: starting, feeding, hearing, and replacing them."""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from logging import ERROR
from typing import Any, Protocol

import zmq

from leadline.serving.logs import log
from leadline.serving.protocol.arena import Arena
from leadline.serving.protocol.frames import next_message, send_message
from leadline.serving.server.batching import Ticket
from leadline.serving.server.crew import Crew
from leadline.serving.server.launch import Child, Launcher
from leadline.serving.server.memory import Memory
from leadline.serving.server.metrics import Metrics
from leadline.serving.server.slots import Batch, Slot
from leadline.serving.server.tuned import FRONT, WORK, WORKERS
from leadline.serving.server.vitals import Vitals
from leadline.serving.worker import messages
from leadline.serving.worker.config import WorkerConfig
from leadline.serving.worker.pulse import PULSE_SUFFIX


@dataclass(frozen=True)
class Patience:
    """How long workers may take.

    Attributes:
        silence_s: Without a sign of life or work.
        start_s: To be ready.
        stop_s: To stop between steps when asked to.
        step_s: For one step, and as much again for each megapixel and member.
    """

    silence_s: float = 6.0
    start_s: float = 120.0
    stop_s: float = 30.0
    step_s: float = 60.0


@dataclass(frozen=True)
class _Ended:
    """Tracks memory that a worker may use until it has ended."""

    child: Child

    @property
    def done(self) -> bool:
        return self.child.end is not None


class Listener(Protocol):
    """Who hears what becomes of tickets."""

    def on_progress(self, ticket: Ticket, stage: str, fraction: float) -> None:
        """A ticket's batch got further."""

    def on_result(self, ticket: Ticket, result: dict[str, Any], bodies: Sequence[Any]) -> Sequence[Any]:
        """A ticket has its maps. Returns trackers of the bodies, whose memory is used again once they are done."""

    def on_failed(self, ticket: Ticket, code: str, message: str) -> None:
        """A ticket failed."""

    def on_lost(self, tickets: list[Ticket]) -> None:
        """The worker died with these."""


@dataclass(frozen=True)
class _Begun:
    """A batch whose bodies are on their way into shared memory, and what its worker is told then."""

    slot: Slot
    batch: Batch
    run: messages.Run
    frames: list[Any]


@dataclass
class Pool:
    """All workers.

    Args:
        context: Of the front.
        template: Configuration of a worker; name, endpoint and device are filled in.
        endpoint: To bind for the workers.
        devices: One worker for each, at most.
        launcher: Starts them.
        listener: Told about tickets.
        metrics: Counted in.
        arena: Shared with local workers.
        patience: With workers.
        secret: CURVE secret of the front, if workers come over a network.
    """

    context: zmq.Context[Any]
    template: WorkerConfig
    endpoint: str
    devices: Sequence[str]
    launcher: Launcher
    listener: Listener
    metrics: Metrics
    arena: Arena | None
    patience: Patience = Patience()
    secret: str | None = None
    infos: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True
        if self.secret is not None:
            self.socket.zap_domain = b"workers"
            self.socket.curve_server = True
            self.socket.curve_secretkey = self.secret.encode()
        self.socket.bind(self.endpoint)
        self.bound = self.socket.last_endpoint.decode()
        self.slots = [Slot(i, device) for i, device in enumerate(self.devices)]
        self.memory = Memory(self.arena)
        self.wanted = len(self.slots)
        self._crew = Crew(2 * len(self.slots), "leadline-worker")  # one leaves while the next starts
        self._gone: list[Child] = []
        self._begun: deque[_Begun] = deque()
        self._numbers = 0
        self._tended = math.inf

    # --- work

    def idle(self) -> list[Slot]:
        """Workers with nothing to do."""
        return [slot for slot in self.slots if slot.state == "idle" and not slot.leaving]

    def interruptible(self) -> list[Slot]:
        """Workers that would interrupt a large batch for a small one; not one that is still to get the large one, and would
        interrupt the small one for it."""
        if not self.template.interruptible:
            return []
        return [
            slot
            for slot in self.slots
            if slot.batch is not None and slot.aside is None and not slot.leaving
            and slot.batch.cost >= WORK.large and not slot.batch.copies
        ]  # fmt: skip

    def present(self) -> list[Slot]:
        """Places that have a worker or should have one."""
        return [slot for slot in self.slots if slot.index < self.wanted or slot.child is not None]

    def is_hopeless(self) -> bool:
        """Whether no worker comes up: each died several times before it was ready."""
        return all(slot.stillborn >= WORKERS.many for slot in self.present())

    def run(self, slot: Slot, tickets: list[Ticket], now: float) -> None:
        """Give a batch to an idle worker, or a small one to a worker that interrupts a large one for it."""
        self._collect()
        self._numbers += 1
        batch = Batch(
            self._numbers, tickets, [], set(range(len(tickets))), cost=sum(t.cost for t in tickets), began=now
        )
        frames: list[Any] = []
        jobs = [self.memory.job(ticket, batch, frames) for ticket in tickets]
        first = tickets[0].request
        batch.step_s = self.patience.step_s * (1.0 + sum(ticket.work for ticket in tickets))
        run = messages.Run(
            batch.number, first.model or "", first.steps, first.ensemble, first.size, first.detail, first.output, jobs,
            makes_way=batch.cost >= WORK.large and self.template.interruptible,
        )  # fmt: skip
        slot.state = "busy"
        if slot.batch is None:
            slot.batch = batch
        else:
            slot.aside = batch
        if batch.copies:
            self._begun.append(_Begun(slot, batch, run, frames))
        else:
            self._hand_over(slot, run, frames, now)

    @property
    def copying(self) -> bool:
        """Whether :meth:`copy` has something to do."""
        return bool(self._begun)

    def copy(self, now: float) -> None:
        """One piece of what workers wait for; a batch that is all there is handed over."""
        if not self._begun:
            return
        begun = self._begun[0]
        slot, batch = begun.slot, begun.batch
        if batch not in slot.batches:  # its worker is gone
            self._begun.popleft()
        elif not batch.left:  # nobody waits for it any more
            self._begun.popleft()
            slot.end(batch)
            self.memory.release(batch)
        elif batch.copies[0].go_on(FRONT.piece_bytes):
            batch.copies.pop(0)
            if not batch.copies:
                self._begun.popleft()
                self._hand_over(slot, begun.run, begun.frames, now)

    def _hand_over(self, slot: Slot, run: messages.Run, frames: list[Any], now: float) -> None:
        if slot.vitals is not None:
            slot.vitals.hear(now)
        if not self._send(slot, run, frames):
            self._lose(slot, "its connection broke", now)

    @property
    def shares(self) -> bool:
        """Whether, as far as is known, every worker sees the blocks that are lent to clients."""
        return self.arena is not None and all(slot.shares for slot in self.slots)

    def forget(self, block: int) -> None:
        """A lent block is used no more."""
        self._tell_all(messages.Forget(block))

    def reload(self, models: Mapping[str, str]) -> None:
        """Have models loaded anew when they are next asked for, from these places."""
        self.template = replace(self.template, models=dict(models))
        self._tell_all(messages.Reload(dict(models)))
        self.infos.clear()
        for slot in self.slots:
            slot.models = frozenset()

    def quiet_s(self, ticket: Ticket, now: float) -> float:
        """For how long the worker of a running ticket has given no sign of life."""
        for slot in self.slots:
            if slot.vitals is not None and any(ticket in batch.tickets for batch in slot.batches):
                return slot.vitals.quiet_s(now)
        return 0.0

    def stop(self, ticket: Ticket, now: float) -> None:
        """A running ticket is wanted no more. Its worker stops once that is true of the whole batch."""
        for slot in self.slots:
            for batch in slot.batches:
                if ticket in batch.tickets:
                    batch.left.discard(batch.tickets.index(ticket))
                    if not batch.left and batch.stop_by is None and not batch.copies:
                        batch.stop_by = now + self.patience.stop_s
                        self._send(slot, messages.Stop(batch.number))

    def hear(self, now: float) -> None:
        """Take in everything the workers said."""
        while (message := next_message(self.socket)) is not None:
            name, head, *frames = message
            sender = name.bytes.decode(errors="replace")
            slot = next((s for s in self.slots if s.name == sender.removesuffix(PULSE_SUFFIX)), None)
            if slot is not None and slot.vitals is not None:  # else: an occupant that was already given up
                self._take(slot, slot.vitals, messages.unpack(head.bytes), frames, now)

    def tend(self, now: float) -> None:
        """Start what is down, give up what died or hangs, and see off who is wanted no more or loses its machine."""
        self._collect()
        self._pardon(now)
        for slot in self.slots:
            if slot.child is None or slot.vitals is None:
                if now >= slot.start_at and slot.index < self.wanted:
                    self._start(slot, now)
            elif slot.child.end is not None:
                if now - slot.started_at > WORKERS.young_s:
                    slot.failures = 0
                self._lose(slot, slot.child.end, now)
            elif complaint := self._complaint(slot, slot.child, slot.vitals, now):
                self._lose(slot, complaint, now)
            else:
                slot.leaving = slot.child.must_move or slot.index >= self.wanted
                if slot.leaving and slot.state == "idle":
                    self._see_off(slot, slot.child, now)

    def _pardon(self, now: float) -> None:
        """Time that the front itself did not get to run, on a machine that is too busy, is no worker's silence."""
        away_s, self._tended = now - self._tended, now
        if away_s > WORKERS.away_s:
            for slot in self.slots:
                slot.started_at += away_s
                if slot.vitals is not None:
                    slot.vitals.pardon(away_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """End all workers."""
        children = [slot.child for slot in self.slots if slot.child is not None]
        for slot in self.slots:
            if slot.child is not None:
                if self._send(slot, messages.Exit()):
                    slot.child.leave(timeout_s)
                else:
                    slot.child.kill()  # it never got as far as connecting
        for child in (*children, *self._gone):
            child.join(timeout_s + 1.0)
        self._crew.close(0.1)
        self.socket.close(0)

    # --- inside

    def _tell_all(self, message: messages.Message) -> None:
        for slot in self.slots:
            if slot.state in ("idle", "busy"):
                self._send(slot, message)

    def _start(self, slot: Slot, now: float) -> None:
        slot.name = f"worker-{slot.index}-{secrets.token_hex(8)}"
        config = replace(self.template, name=slot.name, endpoint=self.bound, device=slot.device, index=slot.index)
        slot.child, slot.vitals = Child(self.launcher, config, self._crew), Vitals(self.patience.silence_s, now)
        slot.state, slot.started_at, slot.models, slot.pid = "starting", now, frozenset(), None
        slot.loaded_at, slot.load_s, slot.leaving = -math.inf, 0.0, False
        self.metrics.count("worker_starts_total", replica=str(slot.index))
        log("worker started", worker=slot.index, device=slot.device)

    def _see_off(self, slot: Slot, child: Child, now: float) -> None:
        """An idle occupant leaves in order; its place is free at once."""
        self._send(slot, messages.Exit())
        child.leave(WORKERS.leave_s)
        self._gone.append(child)
        slot.child, slot.vitals, slot.state, slot.models, slot.start_at = None, None, "down", frozenset(), now
        slot.reason = "its machine is being drained" if child.must_move else ""
        log("worker left", worker=slot.index, pid=slot.pid, reason=slot.reason or "it is not needed")

    def _complaint(self, slot: Slot, child: Child, vitals: Vitals, now: float) -> str | None:
        vitals.look(now, child.effort_s)
        if slot.state == "starting":
            if now - slot.started_at > self.patience.start_s:
                return f"it was not ready within {self.patience.start_s:.0f} s"
            # Until it has spoken, a worker whose process cannot be seen may be waiting for its place in a cluster.
            return None if child.effort_s is None else vitals.complaint(now, math.inf)
        if any(batch.stop_by is not None and now > batch.stop_by for batch in slot.batches):
            return "it did not stop when asked"
        return vitals.complaint(now, max((batch.step_s for batch in slot.batches), default=math.inf))

    def _lose(self, slot: Slot, reason: str, now: float) -> None:
        """The occupant is gone: free its memory, tell whose tickets it had, plan its successor."""
        slot_child = slot.child
        if slot_child is not None:
            slot_child.kill()
        batches, slot.batch, slot.aside = slot.batches, None, None
        slot.failures += 1
        slot.stillborn += slot.state == "starting"
        pause_s = min(WORKERS.longest_pause_s, WORKERS.first_pause_s * 2 ** min(slot.failures - 1, 20))
        slot.child, slot.vitals, slot.state, slot.reason = None, None, "down", reason
        slot.models, slot.start_at = frozenset(), now + pause_s
        self.metrics.count("worker_losses_total", replica=str(slot.index))
        log("worker lost", ERROR, worker=slot.index, pid=slot.pid, reason=reason, again_in_s=pause_s)
        for batch in batches:
            if slot_child is not None:  # until it is really gone, it may write there
                self.memory.release(batch, [_Ended(slot_child)])
            self.listener.on_lost([batch.tickets[i] for i in sorted(batch.left)])

    def _take(self, slot: Slot, vitals: Vitals, message: Any, frames: list[Any], now: float) -> None:
        if isinstance(message, messages.Pulse):
            vitals.beat(now, message.moves, message.effort_s)
            return
        vitals.hear(now)
        if isinstance(message, messages.Ready):
            slot.state, slot.pid, slot.stillborn, slot.shares = "idle", message.pid, 0, message.shares
            slot.reason = ""
            log("worker ready", worker=slot.index, pid=slot.pid, seconds=round(now - slot.started_at, 2))
            return
        if isinstance(message, messages.Loaded):
            name = message.info["name"]
            self.infos[name] = message.info
            slot.models |= {name}
            slot.loaded_at, slot.load_s = now, message.seconds
            return
        batch = next((one for one in slot.batches if one.number == message.batch), None)
        if batch is None:
            return
        if isinstance(message, messages.Moved):
            for index in sorted(batch.left):  # a copy: hearing of it may end a ticket
                self.listener.on_progress(batch.tickets[index], message.stage, message.fraction)
            return
        if message.index in batch.left:
            batch.left.discard(message.index)
            if isinstance(message, messages.Failed):
                self.listener.on_failed(batch.tickets[message.index], message.code, message.message)
            else:
                ticket = batch.tickets[message.index]
                bodies, rooms = self.memory.bodies(message, batch, frames)
                trackers = self.listener.on_result(ticket, message.result, bodies)
                self.memory.leaves(trackers, rooms, ticket.client, bodies)
        if message.rest is not None:
            self._rest(slot, batch, message.rest, now)

    def _rest(self, slot: Slot, batch: Batch, rest: messages.Rest, now: float) -> None:
        """The worker is done with a batch."""
        if batch is slot.aside and slot.batch is not None:
            slot.batch.aside_s += now - batch.began
        slot.end(batch)
        slot.failures, slot.rested_at = 0, now
        slot.models = frozenset(rest.models)
        model = batch.tickets[0].request.model or ""
        self.metrics.observe("model_seconds", rest.seconds, model=model, replica=str(slot.index))
        self.memory.release(batch)
        if batch.left:  # a worker that answers less than it was asked
            self.listener.on_lost([batch.tickets[i] for i in sorted(batch.left)])

    def _collect(self) -> None:
        self.memory.collect()
        self._gone = [child for child in self._gone if child.end is None]

    def _send(self, slot: Slot, message: messages.Message, frames: Sequence[Any] = ()) -> bool:
        try:
            send_message(self.socket, [slot.name.encode(), messages.pack(message), *frames], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True
