"""The thread that owns the client's socket."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.serving.client.keys import ClientKeys
from leadline.serving.client.loan import Loan, ask, receive
from leadline.serving.client.pending import Pending, as_prediction, need_bytes
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.addresses import is_local
from leadline.serving.protocol.failures import AccessDenied, ServerUnreachable, ServingError, TimedOut, as_exception
from leadline.serving.protocol.frames import next_message, send_message
from leadline.serving.protocol.messages import Progress

#: A server with a request of ours in hand speaks every second; so long a silence means that it hangs.
SILENCE_S = 6.0
#: Id of the ``hello`` by which the link itself learns of shared memory.
_LOAN = "loan"


@dataclass
class _Inbox:
    """What other threads want of the link's thread."""

    requests: deque[Pending] = field(default_factory=deque)
    cancels: deque[tuple[str, list[Any]]] = field(default_factory=deque)
    stop: bool = False


class Link(threading.Thread):
    """The thread that owns the socket: connects, sends, hears, and asks again (the "lazy pirate" of the ZeroMQ guide).

    Requests are sent only over a connection whose handshake succeeded. When a connection breaks, or falls silent with
    requests in hand, the socket is thrown away with whatever it still holds, and a new one sends every request again
    with its old id; the server recognises those it is already working on.
    """

    def __init__(
        self, address: str, keys: ClientKeys | None, reconnect_s: float, retries: int, session: str | None
    ) -> None:
        super().__init__(name="leadline-client", daemon=True)
        # Shared memory: the loan, whether hello was asked for it, the connection over which it will come.
        self.loan: Loan | None = None
        self._asked, self._need_bytes = False, 0
        self._asking: socket.socket | None = None
        self._address, self._keys = address, keys
        self._reconnect_s, self._retries = reconnect_s, retries
        self._zmq = zmq.Context()
        self._inbox = _Inbox()
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = self._zmq.socket(zmq.PAIR), self._zmq.socket(zmq.PAIR)
        self._wake_in.bind("inproc://wake")
        self._wake_out.connect("inproc://wake")
        self._waiting: dict[str, Pending] = {}
        self._connected = False
        self._away_since: float | None = time.monotonic()
        self._refusal = ""
        self._let_in = False  # a server that once shook hands and then breaks off is dying, not refusing
        try:
            self._open()
        except zmq.ZMQError as error:
            self._zmq.destroy(linger=0)
            raise InputError(f"'{address}' is no address; give tcp://host:port or ipc://path") from error
        self._session = session if is_local(address) else None

    # --- called from any thread

    def send(self, pending: Pending) -> None:
        with self._lock:
            if self._inbox.stop:
                raise ServingError("this client is closed; make a new one")
            self._inbox.requests.append(pending)
            self._wake_out.send(b"")

    def forget(self, id: str, cancel: list[Any]) -> None:  # noqa: A002
        with self._lock:
            if not self._inbox.stop:
                self._inbox.cancels.append((id, cancel))
                self._wake_out.send(b"")

    def stop(self) -> None:
        with self._lock:
            if self._inbox.stop:
                return
            self._inbox.stop = True
            self._wake_out.send(b"")
        if threading.current_thread() is not self:
            self.join()

    # --- the thread

    def run(self) -> None:
        try:
            while not self._inbox.stop:
                self._turn()
        finally:
            with self._lock:
                self._inbox.stop = True
            for pending in [*self._waiting.values(), *self._inbox.requests]:
                pending.job.finish(Cancelled("the client was closed"))
            self._close()
            self._wake_in.close(0)
            self._wake_out.close(0)
            self._zmq.term()

    def _turn(self) -> None:
        ready = dict(self._poller.poll(200 if self._waiting else 1000))
        if self._socket in ready:
            self._hear()
        if self._monitor in ready:
            self._watch()
        if self._wake_in in ready:
            self._take_orders()
        if self._asking is not None and self._asking.fileno() in ready:
            self._poller.unregister(self._asking.fileno())
            self.loan, self._asking = receive(self._asking), None
        self._mind_the_time()

    def _open(self) -> None:
        self._socket = socket = self._zmq.socket(zmq.DEALER)
        socket.linger = 0
        socket.sndhwm = 0  # requests in hand are bounded by the server's queue, and the thread must never block
        # No ZMQ_HEARTBEAT_IVL: libzmq 4.3.5 can abort the process over it (see the server). The server's ticks tell more.
        socket.reconnect_ivl, socket.reconnect_ivl_max = 50, 500
        socket.handshake_ivl = 5000
        if self._keys is not None:
            socket.curve_serverkey = self._keys.server.encode()
            socket.curve_publickey = self._keys.public.encode()
            socket.curve_secretkey = self._keys.secret.encode()
        self._monitor = socket.get_monitor_socket()
        self._poller = zmq.Poller()
        for waited_for in (self._wake_in, socket, self._monitor):
            self._poller.register(waited_for, zmq.POLLIN)
        try:
            socket.connect(self._address)
        except zmq.ZMQError:
            self._close()
            raise

    def _close(self) -> None:
        self._return_loan()
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def _reopen(self) -> None:
        self._close()
        self._connected = False
        self._away_since = time.monotonic() if self._away_since is None else self._away_since
        self._open()

    def _watch(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected, self._away_since, self._refusal, self._let_in = True, None, "", True
                for pending in list(self._waiting.values()):
                    self._transmit(pending)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._fail_all(
                    AccessDenied("the server does not know this client's key; `leadline keys add` makes one")
                )
            elif (
                event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
                and not self._let_in
            ):
                wants = "refused the keys" if self._keys else "wants keys, or is no Leadline server"
                self._refusal = f"{self._address} {wants}; check client_keys and server_key"
            elif event == zmq.EVENT_DISCONNECTED:
                if self._connected:
                    self._hear()  # what came before the end still counts
                self._reopen()
                return

    def _take_orders(self) -> None:
        with self._lock:
            while self._wake_in.poll(0):
                self._wake_in.recv()
            requests, cancels = list(self._inbox.requests), list(self._inbox.cancels)
            self._inbox.requests.clear()
            self._inbox.cancels.clear()
        now = time.monotonic()
        for pending in requests:
            pending.deadline = now + pending.timeout_s
            if not self._waiting and self._away_since is not None:
                self._away_since = now  # time away counts from when somebody first minds
            self._waiting[pending.job.id] = pending
            if self._connected:
                self._transmit(pending)
        for id_, frames in cancels:
            gone = self._waiting.pop(id_, None)
            if gone is not None and gone.sends and self._connected:
                self._socket.send_multipart(frames)
            self._abandon(gone)

    # Rooms of a loan are used again once the server is known to be done with them. Where it may not be, as it still
    # finishes a step of what nobody wants any more, the whole loan is given back, and another one asked for.

    def _abandon(self, pending: Pending | None) -> None:
        """We do not wait for this one any more, but the server may still be at it."""
        if pending is not None and pending.lent is not None and pending.lent.loan is self.loan:
            self._return_loan()

    def _return_loan(self) -> None:
        if self._asking is not None:
            self._poller.unregister(self._asking.fileno())
            self._asking.close()
        if self.loan is not None:
            self.loan.end()
        self.loan, self._asking, self._asked = None, None, False

    def _seek_loan(self, request: messages.Request) -> None:
        """Ask for shared memory, once, when a request comes that is worth it: until it is there, messages do."""
        if self._session is None or self._asked or not isinstance(request, messages.Predict):
            return
        self._need_bytes = sum(need_bytes(request))
        if self._need_bytes:
            self._asked = True
            send_message(self._socket, wire.pack(wire.request_header(messages.Hello(_LOAN))))

    def _borrow(self, hello: Mapping[str, Any]) -> None:
        path, limits = hello.get("blocks"), hello.get("limits")
        most_bytes = limits.get("block_bytes") if isinstance(limits, dict) else None
        if self.loan is None and self._asking is None and isinstance(path, str) and isinstance(most_bytes, int):
            self._asking = ask(path, self._session or "", self._need_bytes, most_bytes)
            if self._asking is not None:
                self._poller.register(self._asking.fileno(), zmq.POLLIN)

    def _transmit(self, pending: Pending) -> None:
        if pending.sends > self._retries:
            del self._waiting[pending.job.id]
            pending.job.finish(
                ServerUnreachable(f"{self._address} took this request {pending.sends} times and never answered it")
            )
            return
        frames = pending.message(self.loan)
        pending.sends += 1
        pending.heard = time.monotonic()
        send_message(self._socket, frames)
        self._seek_loan(pending.request)

    def _hear(self) -> None:
        while (frames := next_message(self._socket)) is not None:
            try:
                self._dispatch([frame.buffer for frame in frames])
            except messages.WireError as error:
                if error.id is not None and (pending := self._waiting.pop(error.id, None)):
                    pending.job.finish(ServingError(f"the server's answer is malformed: {error}"))

    def _dispatch(self, frames: Sequence[Any]) -> None:
        reply = wire.read_reply(frames)
        if reply.id == _LOAN and isinstance(reply, messages.Info):
            self._borrow(reply.header)
            return
        pending = self._waiting.get(reply.id or "")
        if pending is None:
            return
        pending.heard = time.monotonic()
        if isinstance(reply, Progress):
            pending.job.tell(reply)
            return
        if isinstance(reply, messages.Failure) and reply.code == "no_block" and pending.lent is not None:
            self._abandon(pending)
            self._transmit(pending)
            return
        del self._waiting[pending.job.id]
        if isinstance(reply, messages.Failure):
            if reply.code in ("cancelled", "deadline", "shutting_down"):
                self._abandon(pending)
            pending.job.finish(as_exception(reply))
        elif isinstance(reply, messages.Info):
            pending.job.finish(reply.header)
        else:
            try:
                prediction = as_prediction(reply, frames[2:], pending.lent)
                pending.lent = None  # the image's room is free before anybody hears of the result
                if pending.shape not in (None, prediction.shape):
                    raise messages.WireError(f"the image is {pending.shape}, the map {prediction.shape}")
                if isinstance(pending.request, messages.Predict) and pending.request.output != _output(prediction):
                    raise messages.WireError(f"it is {_output(prediction)}, not {pending.request.output}")
                pending.job.finish(prediction)
            except LeadlineError as error:
                pending.job.finish(ServingError(f"the server's answer is malformed: {error}"))

    def _mind_the_time(self) -> None:
        now = time.monotonic()
        for id_, pending in list(self._waiting.items()):
            if now >= pending.deadline:
                del self._waiting[id_]
                self._abandon(pending)
                pending.job.finish(self._refused() or TimedOut(f"no result within {pending.timeout_s:g} s"))
        if not self._waiting:
            return
        if self._away_since is not None and now - self._away_since > self._reconnect_s:
            self._fail_all(
                self._refused()
                or ServerUnreachable(f"no server answers at {self._address}; start one with `leadline serve`")
            )
        elif self._connected and any(now - p.heard > SILENCE_S for p in self._waiting.values()):
            self._reopen()

    def _refused(self) -> AccessDenied | None:
        return AccessDenied(self._refusal) if self._refusal else None

    def _fail_all(self, error: ServingError) -> None:
        for pending in self._waiting.values():
            self._abandon(pending)
            pending.job.finish(error)
        self._waiting.clear()


def _output(prediction: DepthPrediction | NormalsPrediction) -> str:
    return "normals" if isinstance(prediction, NormalsPrediction) else "depth"
