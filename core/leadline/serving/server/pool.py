"""The server's side of its workers: starting, feeding, hearing, and replacing them."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from logging import ERROR
from typing import Any, Protocol

import zmq

from leadline.serving.logs import log
from leadline.serving.protocol import pixels
from leadline.serving.protocol.arena import Allocator, Arena
from leadline.serving.protocol.frames import next_message, send_message
from leadline.serving.server.batching import Ticket
from leadline.serving.server.launch import Launcher, Running
from leadline.serving.server.metrics import Metrics
from leadline.serving.worker.worker import WorkerConfig

#: Pause before a worker that died young is started again: doubles up to the maximum.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
YOUNG_S = 10.0
#: Workers that died before they were ready, in a row.
MANY = 3


@dataclass(eq=False)
class Batch:
    """Tickets that run together, and the shared memory they take."""

    number: int
    tickets: list[Ticket]
    rooms: list[int]
    left: set[int]
    stop_by: float | None = None


@dataclass(eq=False)
class Slot:
    """A place for a worker, with its current occupant."""

    index: int
    device: str
    name: str = ""
    running: Running | None = None
    state: str = "down"  # down, starting, idle, busy
    batch: Batch | None = None
    models: frozenset[str] = frozenset()
    pid: int | None = None
    shares: bool = True
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    stillborn: int = 0


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


@dataclass
class Pool:
    """All workers.

    Args:
        context: Of the front.
        template: Configuration of a worker; name, endpoint and device are filled in.
        endpoint: To bind for the workers.
        devices: One worker for each.
        launcher: Starts them.
        listener: Told about tickets.
        metrics: Counted in.
        arena: Shared with local workers.
        hang_s: A worker that does not stop within this time of being asked is killed.
        secret: CURVE secret of the front, if workers come over a network.
        advertised: Endpoint to tell the workers; None: what was bound.
    """

    context: zmq.Context[Any]
    template: WorkerConfig
    endpoint: str
    devices: Sequence[str]
    launcher: Launcher
    listener: Listener
    metrics: Metrics
    arena: Arena | None
    hang_s: float = 30.0
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
        self._rooms = Allocator(self.arena.size) if self.arena is not None else None
        self._leaving: list[tuple[Sequence[Any], list[int]]] = []
        self._numbers = 0

    # --- work

    def idle(self) -> list[Slot]:
        """Workers with nothing to do."""
        return [slot for slot in self.slots if slot.state == "idle"]

    def is_hopeless(self) -> bool:
        """Whether no worker comes up: each died several times before it was ready."""
        return all(slot.stillborn >= MANY for slot in self.slots)

    def run(self, slot: Slot, tickets: list[Ticket]) -> None:
        """Give a batch to an idle worker."""
        self._collect()
        self._numbers += 1
        batch = Batch(self._numbers, tickets, [], set(range(len(tickets))))
        frames: list[Any] = []
        jobs = [self._job(ticket, batch, frames) for ticket in tickets]
        first = tickets[0].request
        header = {
            "op": "run",
            "batch": batch.number,
            "model": first.model,
            "steps": first.steps,
            "ensemble": first.ensemble,
            "size": first.size,
            "jobs": jobs,
        }
        slot.state, slot.batch = "busy", batch
        if not self._send(slot, header, frames):
            self._lose(slot, "its connection broke")

    @property
    def shares(self) -> bool:
        """Whether, as far as is known, every worker sees the blocks that are lent to clients."""
        return self.arena is not None and all(slot.shares for slot in self.slots)

    def forget(self, block: int) -> None:
        """A lent block is used no more."""
        for slot in self.slots:
            if slot.state in ("idle", "busy"):
                self._send(slot, {"op": "forget", "block": block})

    def stop(self, ticket: Ticket, now: float) -> None:
        """A running ticket is wanted no more. Its worker stops once that is true of the whole batch."""
        for slot in self.slots:
            if slot.batch is not None and ticket in slot.batch.tickets:
                slot.batch.left.discard(slot.batch.tickets.index(ticket))
                if not slot.batch.left and slot.batch.stop_by is None:
                    slot.batch.stop_by = now + self.hang_s
                    self._send(slot, {"op": "stop", "batch": slot.batch.number})

    def hear(self, now: float) -> None:
        """Take in everything the workers said."""
        while (message := next_message(self.socket)) is not None:
            name, head, *frames = message
            slot = next((s for s in self.slots if s.name == name.bytes.decode(errors="replace")), None)
            if slot is not None:  # else: an occupant that was already given up
                self._take(slot, json.loads(head.bytes), frames, now)

    def tend(self, now: float) -> None:
        """Start what is down, and give up what died or hangs."""
        self._collect()
        for slot in self.slots:
            if slot.running is None:
                if now >= slot.start_at:
                    self._start(slot, now)
            elif not slot.running.alive():
                if now - slot.started_at > YOUNG_S:
                    slot.failures = 0
                self._lose(slot, "it died", now)
            elif slot.batch is not None and slot.batch.stop_by is not None and now > slot.batch.stop_by:
                slot.running.kill()
                self._lose(slot, "it did not stop when asked", now)

    def close(self, timeout_s: float = 5.0) -> None:
        """End all workers."""
        for slot in self.slots:
            if slot.running is not None and not self._send(slot, {"op": "exit"}):
                slot.running.kill()  # it never got as far as connecting
        for slot in self.slots:
            if slot.running is not None:
                slot.running.wait(timeout_s)
        self.socket.close(0)

    # --- inside

    def _start(self, slot: Slot, now: float) -> None:
        slot.name = f"worker-{slot.index}-{secrets.token_hex(8)}"
        config = replace(self.template, name=slot.name, endpoint=self.bound, device=slot.device, index=slot.index)
        slot.running = self.launcher.launch(config)
        slot.state, slot.started_at, slot.models, slot.pid = "starting", now, frozenset(), None
        self.metrics.count("worker_starts_total")
        log("worker started", worker=slot.index, device=slot.device)

    def _lose(self, slot: Slot, reason: str, now: float | None = None) -> None:
        """The occupant is gone: free its memory, tell whose tickets it had, plan its successor."""
        if slot.running is not None and slot.running.alive():
            slot.running.kill()
        batch, slot.batch = slot.batch, None
        slot.failures += 1
        slot.stillborn += slot.state == "starting"
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (slot.failures - 1))
        slot.running, slot.state, slot.start_at = None, "down", (now or slot.started_at) + pause_s
        self.metrics.count("worker_losses_total")
        log("worker lost", ERROR, worker=slot.index, pid=slot.pid, reason=reason, again_in_s=pause_s)
        if batch is not None:
            for room in batch.rooms:
                self._give_back(room)
            self.listener.on_lost([batch.tickets[i] for i in sorted(batch.left)])

    def _take(self, slot: Slot, header: dict[str, Any], frames: list[Any], now: float) -> None:
        op = header["op"]
        if op == "ready":
            slot.state, slot.pid, slot.stillborn, slot.shares = "idle", header["pid"], 0, header["shares"]
            log("worker ready", worker=slot.index, pid=slot.pid, seconds=round(now - slot.started_at, 2))
            return
        if op == "loaded":
            self.infos[header["info"]["name"]] = header["info"]
            slot.models |= {header["info"]["name"]}
            return
        batch = slot.batch
        if batch is None or header["batch"] != batch.number:
            return
        if op == "progress":
            for index in sorted(batch.left):  # a copy: hearing of it may end a ticket
                self.listener.on_progress(batch.tickets[index], header["stage"], header["fraction"])
        elif op == "failed" and header["index"] in batch.left:
            batch.left.discard(header["index"])
            self.listener.on_failed(batch.tickets[header["index"]], header["code"], header["message"])
        elif op == "result" and header["index"] in batch.left:
            batch.left.discard(header["index"])
            self._result(batch, header, frames)
        if "idle" in header:
            self._rest(slot, batch, header["idle"])

    def _rest(self, slot: Slot, batch: Batch, report: dict[str, Any]) -> None:
        """The worker is done with its batch."""
        slot.state, slot.batch, slot.failures = "idle", None, 0
        slot.models = frozenset(report["models"])
        self.metrics.observe("model_seconds", report["seconds"])
        for room in batch.rooms:
            self._give_back(room)
        if batch.left:  # a worker that answers less than it was asked
            self.listener.on_lost([batch.tickets[i] for i in sorted(batch.left)])

    def _result(self, batch: Batch, header: dict[str, Any], frames: list[Any]) -> None:
        bodies, rooms = [], []
        for name, place in zip(("values", "uncertainty"), header["bodies"], strict=False):
            if place[0] == "frame":
                bodies.append(frames[place[1]])
            elif place[0] == "block":
                header["result"][name]["at"] = place[4]
            elif self.arena is not None:
                bodies.append(zmq.Frame(self.arena.view(place[1], place[2]), copy=False, track=True))
                rooms.append(place[1])
        for room in rooms:
            batch.rooms.remove(room)
        trackers = self.listener.on_result(batch.tickets[header["index"]], header["result"], bodies)
        if rooms:
            self._leaving.append((trackers, rooms))

    def _job(self, ticket: Ticket, batch: Batch, frames: list[Any]) -> dict[str, Any]:
        request, block = ticket.request, ticket.block
        places: list[list[Any]] = []
        if block is not None and request.image.at is not None and request.image.shape is not None:
            places.append(block.place(request.image.at, math.prod(request.image.shape)))
        for body in ticket.data.bodies:
            room = self._take_room(len(body), batch)
            if room is None:
                places.append(["frame", len(frames)])
                frames.append(body)
            else:
                assert self.arena is not None
                self.arena.view(room, len(body))[:] = body.buffer
                places.append(["arena", room, len(body)])
        nbytes = pixels.map_nbytes(request.reply, *ticket.shape)
        maps = 2 if request.ensemble > 1 or request.sparse is not None else 1
        rooms: list[list[Any] | None] = []
        if nbytes is not None:
            rooms += [block.place(at, nbytes) for at in request.maps_at[:maps]] if block is not None else []
            arena = [self._take_room(nbytes, batch) for _ in range(maps - len(rooms))]
            rooms += [None if room is None else ["arena", room, nbytes] for room in arena]
        return {
            "image": {"encoding": request.image.encoding, "shape": request.image.shape},
            "sparse": None if request.sparse is None else asdict(request.sparse),
            "seed": request.seed,
            "reply": request.reply,
            "bodies": places,
            "rooms": rooms,
        }

    def _take_room(self, nbytes: int, batch: Batch) -> int | None:
        room = self._rooms.take(nbytes) if self._rooms is not None else None
        if room is not None:
            batch.rooms.append(room)
        return room

    def _give_back(self, room: int) -> None:
        if self._rooms is not None:
            self._rooms.give_back(room)

    def _collect(self) -> None:
        """Use the memory of results that left again."""
        still = []
        for trackers, rooms in self._leaving:
            if all(tracker.done for tracker in trackers):
                for room in rooms:
                    self._give_back(room)
            else:
                still.append((trackers, rooms))
        self._leaving = still

    def _send(self, slot: Slot, header: dict[str, Any], frames: Sequence[Any] = ()) -> bool:
        try:
            parts = [slot.name.encode(), json.dumps(header).encode(), *frames]
            send_message(self.socket, parts, zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True
