"""The server's front: one thread that talks to clients, keeps the queue and feeds the workers. It never imports torch
and never decodes an image; what strangers send is checked here and looked at elsewhere.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from logging import DEBUG, ERROR
from typing import Any

import zmq

from leadline.errors import InputError
from leadline.serving.client.keys import Guest, KeyRing, new_pair
from leadline.serving.folders import PrivateFolder
from leadline.serving.http.config import GatewayConfig
from leadline.serving.logs import dropped, log
from leadline.serving.processes import private_bytes
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.arena import Arena
from leadline.serving.protocol.messages import EVERYBODY, Quota, WireError
from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server import report
from leadline.serving.server.about import known_models
from leadline.serving.server.access import Connection
from leadline.serving.server.admission import Admission, is_repetition, key_of
from leadline.serving.server.batching import Batcher, RateLimiter
from leadline.serving.server.decoders import Decoders
from leadline.serving.server.entrance import Entrance
from leadline.serving.server.exposure import check_exposure, is_local_host
from leadline.serving.server.gateway import Gateway, listening
from leadline.serving.server.growth import Growth
from leadline.serving.server.launch import Launcher, LocalLauncher
from leadline.serving.server.ledger import TICK_S, Ledger
from leadline.serving.server.lender import Lender
from leadline.serving.server.metrics import Metrics, key_name
from leadline.serving.server.notify import notify
from leadline.serving.server.operations import OperationsPage
from leadline.serving.server.pictures import Pictures
from leadline.serving.server.pool import Patience, Pool
from leadline.serving.server.scaling import Scaler
from leadline.serving.server.scheduling import Scheduler
from leadline.serving.server.tuned import FRONT
from leadline.serving.worker.config import WorkerConfig
from leadline.threads import free_cores

LONGEST_SLEEP_S = 0.1
#: Workers are looked after at most this often.
TEND_EVERY_S = 0.02
#: Messages beyond a client's rate: so many a second are answered, the others dropped unread; after this many bursts of
#: them, within a second or so, its connection is ended.
ANSWERS_PER_S, FLOOD_BURSTS = 10.0, 2
#: Messages of clients in one go: read, and in all; and the time for it.
MOST_READ, MOST_DROPPED, LONGEST_READ_S = 64, 4000, 0.005
#: A message that breaks the protocol counts as so many.
MALFORMED_COST = 20.0
#: A front that has not gone through its loop for so long does not live.
DEAD_S = 5.0
#: How often the key ring is looked at for clients that were locked out.
KEYS_EVERY_S = 1.0
#: After something failed inside the front, before it goes on.
BREATH_S = 0.05


class Server:
    """Serves until :meth:`stop`. Also runs in a thread, for tests and embedding.

    Raises:
        InputError: The address cannot be bound, or others can reach it and there are no keys.
    """

    def __init__(
        self,
        config: ServerConfig,
        launcher: Launcher | None = None,
        workers_bind: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not config.models:
            raise InputError("there is no model to serve; name one with --model, or `leadline pull` some weights")
        check_exposure(config)
        self.http_address: str | None = None
        self.config, self.limits, self._clock = config, config.limits, clock
        self.metrics = Metrics()
        self._began = clock()
        self._stopping_since: float | None = None
        self._stop = threading.Event()
        self.turned = self._began  # when the front last went through its loop
        self._batcher = Batcher(config.limits, config.max_members, config.window_s, config.max_megapixels)
        self._rates = RateLimiter(config.limits.rate_per_s, config.limits.burst, self._quota)
        self._batcher.quota = self._quota
        self._answers = RateLimiter(ANSWERS_PER_S, int(2 * ANSWERS_PER_S))
        self._unread: Counter[str] = Counter()
        self._models = known_models(config.models)
        self._ring = KeyRing(config.keys) if config.keys is not None else None
        self._guests: dict[str, Guest] = {}
        self._read_keys = -math.inf
        self._reloaded: Mapping[str, str] | None = None
        self._swept = self._began
        self._growth = Growth(config.limits.queue_bytes + config.spare_bytes, private_bytes())
        self._tended = -math.inf
        self._context: zmq.Context[Any] = zmq.Context(FRONT.io_threads)
        try:
            self._open(launcher, workers_bind)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    @property
    def address(self) -> str:
        """Where clients reach it; the port is the real one."""
        return self._entrance.address

    def _open(self, launcher: Launcher | None, workers_bind: str | None) -> None:
        config = self.config
        remote = workers_bind is not None
        front_keys, worker_keys = (new_pair(), new_pair()) if remote else (None, None)
        self._entrance = Entrance(
            self._context,
            config.bind,
            config.limits.frame_bytes,
            self._ring,
            worker_keys[0] if worker_keys else "",
            self.metrics,
        )
        self._ledger = Ledger(self._batcher, self._entrance, self.metrics, self._clock)
        self._folder = None if remote else PrivateFolder("leadline-workers-")
        arena = None if remote else Arena.create(config.arena_bytes)
        self._lender = None
        if arena is not None and self._folder is not None:
            path = str(self._folder.path / "blocks")
            self._lender = Lender.create(path, config.limits.block_bytes, config.lend_bytes)
        most = config.most_replicas
        devices = config.device.split(",") if most > 1 else [config.device]
        self._scaler = Scaler(config.replicas, most, config.requests_per_worker, down_s=config.scale_down_s)
        self._pool = Pool(
            context=self._context,
            template=WorkerConfig(
                name="",
                endpoint="",
                models=dict(config.models),
                loader=config.loader,
                device="",
                spread=most > 1,
                precision=config.precision,
                compiled=config.compiled,
                speed=config.speed,
                backend=config.backend,
                decoder=config.decoder,
                megapixels=config.limits.megapixels,
                memory_bytes=config.memory_bytes,
                arena=None if arena is None else (arena.descriptor, arena.size),
                front=os.getpid(),
                keys=(front_keys[0], *worker_keys) if front_keys is not None and worker_keys is not None else None,
                log_style=config.log_style,
                log_level=config.log_level,
            ),
            endpoint=workers_bind or _private_endpoint(self._folder),
            devices=[devices[i % len(devices)] for i in range(most)],
            launcher=launcher or LocalLauncher(config.threads or _threads_each(most)),
            listener=self._ledger,
            metrics=self.metrics,
            arena=arena,
            patience=Patience(config.silence_s, config.start_s, config.hang_s, _step_s(config)),
            secret=front_keys[1] if front_keys is not None else None,
        )
        self._pool.wanted = config.replicas
        self._scheduler = Scheduler(self._batcher, self._pool)
        self._admission = Admission(
            config.models, config.limits, self._quota, self._about, self._lender, lambda: self._pool.shares
        )
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._decoders = Decoders(config.decoders, config.limits.megapixels, arena, self._wake)
        self._pictures = Pictures(self._batcher, self._decoders, self._pool.memory)
        self._ledger.attach(self._pool, self._pictures)
        self._page = None
        if config.metrics_port is not None:
            self._page = OperationsPage(
                config.metrics_host, config.metrics_port, self.metrics.registry, self.live, self.ready
            )
        self._gateway: Gateway | None = None
        if config.http_port is not None:
            self._open_http(config.http_host, config.http_port)
        self._watch()

    def _open_http(self, host: str, port: int) -> None:
        """Have a process of its own speak HTTP for us."""
        config = self.config
        if self._folder is None or sys.platform == "win32":
            raise InputError("--http needs a front with workers on this machine, and Linux or macOS")
        self._http = listening(host, port)
        port = self._http.getsockname()[1]
        local = is_local_host(host)
        self.http_address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._gateway = Gateway(
            GatewayConfig(
                self._http.fileno(),
                self._entrance.open_inner(f"ipc://{self._folder.path / 'gateway'}"),
                config.limits,
                config.keys,
                ("localhost", "127.0.0.1", "[::1]", "::1", host) if local else (),
                config.log_style,
                config.log_level,
            )
        )
        self._gateway.start()

    def _watch(self) -> None:
        """What to wait for."""
        self._poller = zmq.Poller()
        for one in (*self._entrance.sockets, self._pool.socket, self._wake_out.fileno()):
            self._poller.register(one, zmq.POLLIN)
        if self._lender is not None:
            self._poller.register(self._lender.fileno(), zmq.POLLIN)

    # --- life

    def stop(self) -> None:
        """Ask for a graceful end: no new work, what is in hand is finished within ``drain_s``. Any thread may ask;
        asking again ends at once."""
        if self._stop.is_set():
            self._stopping_since = -1e9
        self._stop.set()

    def reload(self, models: Mapping[str, str]) -> None:
        """Serve these models from now on, loaded anew when they are next asked for. Any thread may ask."""
        self._reloaded = dict(models)
        self._wake()

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether the front goes through its loop. From any thread."""
        still_s = self._clock() - self.turned
        return still_s < DEAD_S, {"live": still_s < DEAD_S, "still_s": round(max(0.0, still_s), 2)}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether a request would be computed now. From any thread."""
        now = self._clock()
        states = [slot.state for slot in self._pool.present()]
        vitals = [slot.vitals for slot in self._pool.slots if slot.state in ("idle", "busy")]
        up = sum(one is not None and one.quiet_s(now) < self.config.silence_s for one in vitals)
        well = up > 0 and self.live()[0] and not self._stop.is_set()
        return well, {"ready": well, "workers": states, "stopping": self._stop.is_set(), "waiting": len(self._batcher)}

    def run(self) -> None:
        """Serve until stopped."""
        notify("READY=1")
        log("listening", address=self.address, keys=self._entrance.has_keys, models=list(self.config.models))
        try:
            while not self._finished():
                try:
                    self._turn()
                except Exception:  # a mistake of ours, or a machine without memory or descriptors: go on
                    log("the front stumbled", ERROR, exc_info=True)
                    time.sleep(BREATH_S)
        finally:
            self._close()

    def _wake(self) -> None:
        """From any thread: something waits."""
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def _finished(self) -> bool:
        if not self._stop.is_set():
            return False
        now = self._clock()
        if self._stopping_since is None:
            self._stopping_since = now
            notify("STOPPING=1")
            log("stopping", in_hand=len(self._ledger))
        return not self._ledger.tickets or now - self._stopping_since > self.config.drain_s

    def _close(self) -> None:
        for ticket in list(self._ledger.tickets.values()):
            self._ledger.fail(ticket, "shutting_down", "the server is stopping; try again when it is back")
        if self._gateway is not None:
            self._gateway.stop()
            self._http.close()
        self._decoders.close()
        self._pool.close()
        self._wake_in.close()
        self._wake_out.close()
        if self._lender is not None:
            self._lender.close()
        self._entrance.close()
        self._context.term()
        if self._folder is not None:
            self._folder.remove()
        if self._page is not None:
            self._page.close()
        log("stopped")

    def _turn(self) -> None:
        now = self.turned = self._clock()
        sleep_s = 0.0 if self._pool.copying else LONGEST_SLEEP_S
        if self._pool.idle() and (ready := self._batcher.ready_at(now)) is not None:
            sleep_s = min(sleep_s, max(0.005 if self._scheduler.holding else 0.0, ready - now))
        ready_sockets = dict(self._poller.poll(math.ceil(sleep_s * 1000)))
        messages_wait = self._entrance.attend(ready_sockets)
        if self._pool.socket in ready_sockets:
            self._pool.hear(self._clock())
        if self._wake_out.fileno() in ready_sockets:
            with contextlib.suppress(OSError):
                self._wake_out.recv(4096)
            self._take_pictures(self._clock())
        if self._lender is not None:
            if self._lender.fileno() in ready_sockets:
                self._lender.attend()
            while self._lender.gone:
                self._pool.forget(self._lender.gone.popleft())
        if messages_wait:
            self._hear()
        now = self._clock()
        if now - self._tended >= TEND_EVERY_S:
            self._tended = now
            self._scale(now)
            self._pool.tend(now)
            self._ledger.end_late(now)
        self._pictures.start()
        self._feed(now)
        self._pool.copy(now)
        self._ledger.tell(now)
        if now - self._swept > TICK_S / 2:
            self._sweep(now)

    def _scale(self, now: float) -> None:
        """As many workers as there is work for."""
        wanted = self._scaler.look(now, len(self._ledger))
        if wanted != self._pool.wanted:
            log("workers wanted", workers=wanted, before=self._pool.wanted, in_hand=len(self._ledger))
            self._pool.wanted = wanted

    # --- clients

    def _hear(self) -> None:
        now, read = self._clock(), 0
        for sender, frames in self._entrance.messages(MOST_DROPPED):
            try:
                if self._rates.allows(sender.client, now):
                    read += 1
                    self._receive(sender, frames)
                else:
                    self._refuse(sender, frames, now)
            except Exception:  # a mistake of ours must not be every client's
                log("message failed", ERROR, exc_info=True)
            if read >= MOST_READ or self._clock() - now > LONGEST_READ_S:  # then the workers get their turn
                return

    def _refuse(self, to: Connection, frames: list[Any], now: float) -> None:
        """A message beyond its client's rate, before anything in it is looked at."""
        client = to.client
        self._unread[client] += 1
        self.metrics.count("unread_total", client=key_name(client))
        if self._unread[client] > FLOOD_BURSTS * self.limits.burst:
            self._entrance.cut(to, "it sends far more messages than it may")
            self._unread[client] = 0
        if self._answers.allows(client, now):
            known = wire.peek_id([frame.buffer for frame in frames])
            text = f"more than {self.limits.rate_per_s:g} messages per second"
            self._entrance.send(to, wire.reply_header(messages.Failure(known, "rate_limited", text)))

    def _quota(self, client: str) -> Quota:
        guest = self._guests.get(client)
        return EVERYBODY if guest is None else guest.quota

    def _receive(self, to: Connection, frames: list[Any]) -> None:
        now = self._clock()
        try:
            request = wire.read_request([frame.buffer for frame in frames], self.limits)
            self.metrics.count("requests_total", op=type(request).__name__.lower())
            if isinstance(request, messages.Predict):
                self._admit(request, to, frames[2:], now)
            elif isinstance(request, messages.Cancel):
                self._cancel(request, to)
            else:
                self._inform(request, to)
        except WireError as error:
            if error.code == "bad_request":
                self.metrics.count("malformed_total")
                self._rates.charge(to.client, MALFORMED_COST)
                log("refused message", DEBUG, client=to.client, code=error.code, reason=str(error))
            else:
                self._ledger.count(error.code, "", to.client)
            self._entrance.send(to, wire.reply_header(messages.Failure(error.id, error.code, str(error))))

    def _admit(self, request: messages.Predict, to: Connection, bodies: list[Any], now: float) -> None:
        key = key_of(to, request)
        known = self._ledger.tickets.get(key)
        if known is not None:
            if not is_repetition(known, request, to):
                raise WireError("another request with this id is on its way; give each its own", id=request.id)
            known.data.to, known.data.told = to, 0.0  # asked again after a broken connection: answer there
            return
        if self._stop.is_set():
            raise WireError("the server is stopping; try again when it is back", "shutting_down", request.id)
        ticket = self._admission.ticket(request, to, bodies, now)
        ticket.data.told = now - TICK_S + LONGEST_SLEEP_S
        for old in self._batcher.admit(ticket):
            self._ledger.end(
                old, messages.Failure(old.request.id, "superseded", "a newer request of the stream took its place")
            )
        while self._batcher.evicted:
            old = self._batcher.evicted.pop()
            self._ledger.end(
                old, messages.Failure(old.request.id, "busy", "the queue is full; try again later"), removed=True
            )
        self._ledger.tickets[key] = ticket
        self.metrics.count("shared_requests_total", by=ticket.block is not None)
        self.metrics.count("received_bytes_total", by=ticket.nbytes)

    def _cancel(self, request: messages.Cancel, to: Connection) -> None:
        ticket = self._ledger.tickets.get(key_of(to, request))
        if ticket is None:
            raise WireError("there is no such request; it may be done", "unknown_job", request.id)
        self._ledger.drop(ticket, messages.Failure(ticket.request.id, "cancelled", "the request was cancelled"))

    def _inform(self, request: messages.Hello | messages.Status, to: Connection) -> None:
        answer = report.common(request)
        if isinstance(request, messages.Hello):
            answer |= report.models(self.config.models, self._about, self._pool) | report.protocol(self.limits, TICK_S)
            answer["blocks"] = self._lender.path if self._lender is not None and self._pool.shares else None
        else:
            answer |= {
                "uptime_s": round(self._clock() - self._began, 3),
                "waiting": len(self._batcher),
                "running": len(self._ledger) - len(self._batcher),
                "stopping": self._stop.is_set(),
                "workers": report.workers(self._pool, self._clock()),
                "log_lines_dropped": dropped(),
            }
            if request.metrics:
                answer["metrics"] = self.metrics.render()
        self._entrance.send(to, answer)

    def _about(self, model: str) -> dict[str, Any]:
        """What is known of a model: from its file, and from its last load."""
        return {**self._models.get(model, {}), **self._pool.infos.get(model, {})}

    # --- work

    def _take_pictures(self, now: float) -> None:
        """Tickets whose image is decoded may run."""
        for ticket, picture in self._pictures.finished(now):
            self.metrics.observe("decode_seconds", picture.seconds)
            if picture.error or picture.shape is None:
                self.metrics.count("refused_images_total", client=key_name(ticket.client))
                self._ledger.fail(ticket, "bad_image", picture.error or "the image cannot be decoded")
            else:
                ticket.shape, ticket.ready = picture.shape[:2], True

    def _feed(self, now: float) -> None:
        if self._pool.is_hopeless():
            for ticket in self._batcher.waiting():
                self._ledger.fail(ticket, "worker_lost", "the server's workers do not start; its log says why")
        for slot, batch in self._scheduler.batches(now):
            for ticket in batch:
                ticket.data.started, ticket.data.stage = now, "starting"
            self._pool.run(slot, batch, now)  # first of all: a worker waits
            model = batch[0].request.model or ""
            for ticket in batch:
                self.metrics.observe("queue_seconds", now - ticket.arrived, model=model)
            self.metrics.observe("batch_members", sum(t.request.ensemble for t in batch), model=model)

    # --- the house

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._rates.forget(now)
        self._pictures.forgive(now)
        self._answers.forget(now)
        self._unread = Counter({client: n // 2 for client, n in self._unread.items() if n > 1})
        self._watch_keys(now)
        if self._reloaded is not None:
            self.config, self._reloaded = replace(self.config, models=self._reloaded), None
            self._models = known_models(self.config.models)
            self._admission.models = self.config.models
            self._pool.reload(self.config.models)
            log("reloaded", models=list(self.config.models))
        notify("WATCHDOG=1")
        self.metrics.set("queue_length", len(self._batcher))
        self.metrics.set("connections", self._entrance.connections)
        self.metrics.set("log_lines_dropped", dropped())
        self.metrics.set("workers_wanted", self._pool.wanted)
        self.metrics.set("lent_bytes", self._lender.held_bytes if self._lender is not None else 0)
        self.metrics.set("workers_ready", sum(slot.state in ("idle", "busy") for slot in self._pool.slots))
        held = private_bytes()
        if self._growth.is_too_much(held):
            self._recycle(held)

    def _watch_keys(self, now: float) -> None:
        """Clients that were locked out leave; quotas take effect."""
        if self._ring is None or now - self._read_keys < KEYS_EVERY_S:
            return
        self._read_keys = now
        guests = {f"key:{guest.name}": guest for guest in self._ring.guests()}
        gone = {client for client, guest in self._guests.items()
                if client not in guests or guests[client].public != guest.public}  # fmt: skip
        self._guests = guests
        if gone:
            self._entrance.cut_clients(gone, "its key was removed")
            for ticket in [ticket for ticket in self._ledger.tickets.values() if ticket.client in gone]:
                self._ledger.drop(ticket, messages.Failure(ticket.request.id, "cancelled", "the key was removed"))

    def _recycle(self, held: int) -> None:
        """If memory runs away, drop every connection; see :meth:`Entrance.reopen`."""
        self.metrics.count("socket_recycles_total")
        log("dropping all connections", ERROR, reason="memory", held_bytes=held)
        self._entrance.reopen()
        self._watch()


def _step_s(config: ServerConfig) -> float:
    """Compiling a model for a new size is one step, and takes minutes."""
    return config.step_s * (1.0 if config.compiled == "off" else 20.0)


def _threads_each(replicas: int) -> int | None:
    return None if replicas == 1 else max(1, free_cores() // replicas)


def _private_endpoint(folder: PrivateFolder | None) -> str:
    if sys.platform == "win32" or folder is None:
        return "tcp://127.0.0.1:*"
    return f"ipc://{folder.path}/{secrets.token_hex(4)}"
