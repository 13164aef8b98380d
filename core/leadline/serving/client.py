"""The client: depth from a server, without torch. Needs pyzmq, NumPy and the standard library.

One :class:`Client` serves three habits, all from the same background thread that owns the socket:

>>> with Client("tcp://127.0.0.1:5570") as client:                       # doctest: +SKIP
...     depth = client.predict("photo.jpg", ensemble=4)                  # wait for it
...     depth = await client.predict_async(rgb, timeout_s=10)            # asyncio
...     job = client.submit(rgb, on_progress=print)                      # a Job: callbacks, cancel(), result()
...     job.add_done_callback(lambda job: print(job.result().shape))

Results are :class:`leadline.DepthPrediction` (``values``, ``space``, ``uncertainty``, ``metric``, ``model``, ``meta``).
The client reconnects and asks again by itself; asking twice is safe, as a request always gives the same result.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import zmq
from zmq.utils.monitor import recv_monitor_message

from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.prediction import DepthPrediction
from leadline.serving import pixels, wire
from leadline.serving.access import is_local
from leadline.serving.frames import next_message, send_message
from leadline.serving.keys import ClientKeys, load_client_keys
from leadline.serving.shared import WORTH_BYTES, Loan, Room, ask, receive
from leadline.serving.wire import Camera, Progress
from leadline.spaces import Space

__all__ = [
    "AccessDenied",
    "Busy",
    "Camera",
    "Client",
    "Job",
    "ModelInfo",
    "Progress",
    "Refused",
    "ServerError",
    "ServerInfo",
    "ServerUnreachable",
    "ServingError",
    "TimedOut",
]

#: uint8 (H, W, 3), (H, W, 4: alpha is dropped), (H, W, 1) or (H, W); JPEG or PNG bytes; the path of such a file.
Image: TypeAlias = Any
#: A map of metres (H, W) with 0 for "not measured"; or points (N, 3) in metres and the camera that sees them.
Sparse: TypeAlias = "npt.NDArray[Any] | tuple[npt.NDArray[Any], Camera]"
OnProgress: TypeAlias = Callable[[Progress], None]

DEFAULT_ADDRESS = "tcp://127.0.0.1:5570"
#: A server with a request of ours in hand speaks every second; so long a silence means that it hangs.
SILENCE_S = 6.0
CANCEL_POLL_S = 0.03
#: Id of the ``hello`` by which the link itself learns of shared memory.
_LOAN = "loan"


class ServingError(LeadlineError):
    """Base of what goes wrong between client and server."""


class ServerUnreachable(ServingError):
    """Nobody answers at the address, or the server went away and did not come back."""


class AccessDenied(ServingError):
    """The server wants keys, or does not know these."""


class TimedOut(ServingError, TimeoutError):
    """The result did not come within the time given."""


class ServerError(ServingError):
    """The server answered with an error.

    Attributes:
        code: One of :data:`leadline.serving.wire.ERROR_CODES`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Busy(ServerError):
    """The server's queue or this client's share of it is full; try again later."""


class Refused(ServerError, InputError):
    """The image, model or option is not acceptable; asking again will not help."""


@dataclass(frozen=True)
class ModelInfo:
    """A model of the server. Only ``name`` is always known before it was first used."""

    name: str
    family: str | None = None
    space: str | None = None
    default_steps: int | None = None
    default_size: int | None = None
    stochastic: bool | None = None
    loaded: bool = False


@dataclass(frozen=True)
class ServerInfo:
    """The answer to ``hello``."""

    server: str
    protocol: int
    models: tuple[ModelInfo, ...]
    default_model: str
    limits: Mapping[str, float]


class Job:
    """A request on its way. Made by :meth:`Client.submit`."""

    def __init__(self, id: str, cancel: Callable[[Job], None], on_progress: OnProgress | None) -> None:  # noqa: A002
        self.id = id
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # only cancel() below cancels it, as the server must hear of it
        self.progress: Progress | None = None
        self._cancel = cancel
        self._on_progress = on_progress

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self.future.done()

    def result(self, timeout_s: float | None = None) -> DepthPrediction:
        """Wait for the result. Raises what went wrong; :class:`TimedOut` leaves the job running."""
        try:
            prediction: DepthPrediction = self.future.result(timeout_s)
        except (TimeoutError, FutureTimeoutError) as error:  # two classes until Python 3.11
            if isinstance(error, TimedOut):
                raise
            raise TimedOut(f"no result within {timeout_s:g} s; the request still runs") from None
        return prediction

    def cancel(self) -> None:
        """Stop it: :meth:`result` raises :class:`leadline.Cancelled` at once, the server stops between steps."""
        self._cancel(self)

    def add_done_callback(self, callback: Callable[[Job], None]) -> None:
        """Call ``callback(job)`` in the client's thread (or here, if it is done) when there is an outcome."""
        self.future.add_done_callback(lambda _: callback(self))

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        if self._on_progress is not None:
            self._on_progress(progress)

    def _finish(self, outcome: Any) -> None:
        with contextlib.suppress(InvalidStateError):
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class Client:
    """A connection to a Leadline server. Threads may share it.

    Args:
        address: ``tcp://host:port`` or ``ipc://path``.
        timeout_s: Time allowed for a result when a call does not say.
        server_key: The server's public key (40 characters), for servers that use keys.
        client_keys: This client's key file as made by ``leadline keys add``, or (public, secret). A key file knows
            the server's key as well.
        reconnect_s: How long a server may be away, at the beginning or between, before requests fail.
        retries: How often a request is sent again because the connection broke or the server fell silent.
        share: Pass pixels through shared memory if the server runs on this machine and offers it. Results then are
            views of it; while many of them are kept, further ones travel in messages.

    Raises:
        InputError: The address or a key is malformed.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 120.0,
        server_key: str | None = None,
        client_keys: ClientKeys | tuple[str, str] | str | Path | None = None,
        reconnect_s: float = 5.0,
        retries: int = 3,
        share: bool = True,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._session = uuid.uuid4().hex
        keys = load_client_keys(server_key, client_keys)
        self._link = _Link(address, keys, reconnect_s, retries, self._session if share else None)
        self._link.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests on their way raise :class:`leadline.Cancelled`."""
        self._link.stop()

    def hello(self, timeout_s: float | None = None) -> ServerInfo:
        """What the server is, which models it has and what its limits are."""
        header = self._ask(wire.Hello(_new_id()), timeout_s)
        known = ModelInfo.__dataclass_fields__
        try:
            return ServerInfo(
                server=str(header["server"]),
                protocol=int(header["protocol"]),
                models=tuple(ModelInfo(**{k: v for k, v in m.items() if k in known}) for m in header["models"]),
                default_model=str(header["default_model"]),
                limits=dict(header["limits"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServingError("the server's hello is malformed; is it a Leadline server of this version?") from error

    def status(self, metrics: bool = False, timeout_s: float | None = None) -> Mapping[str, Any]:
        """Queue and workers; with ``metrics`` also ``["metrics"]``, a text in Prometheus' format."""
        return self._ask(wire.Status(_new_id(), metrics), timeout_s)

    def predict(
        self, image: Image, *, cancel: threading.Event | None = None, timeout_s: float | None = None, **options: Any
    ) -> DepthPrediction:
        """Depth of an image; waits for it.

        Args:
            image: uint8 RGB array (H, W, 3), (H, W, 4) or (H, W); JPEG or PNG bytes; the path of such a file.
            cancel: Set this event, from any thread, to stop.
            timeout_s: Time allowed. None: the client's.
            **options: See :meth:`submit`.

        Raises:
            Refused: The image, model or an option is not acceptable (also an ``InputError``).
            Busy: The queue is full.
            TimedOut: No result in time.
            ServerUnreachable, AccessDenied, ServerError: See there.
            leadline.Cancelled: ``cancel`` was set.
        """
        job = self.submit(image, timeout_s=timeout_s, **options)
        if cancel is None:
            return job.result()
        while not wait([job.future], CANCEL_POLL_S).done:
            if cancel.is_set():
                job.cancel()
        return job.result()

    async def predict_async(self, image: Image, **options: Any) -> DepthPrediction:
        """Depth of an image, awaited; cancelling the task cancels the request. Arguments as for :meth:`submit`."""
        job = self.submit(image, **options)
        try:
            prediction: DepthPrediction = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancel()
            raise
        return prediction

    def submit(
        self,
        image: Image,
        *,
        model: str | None = None,
        steps: int | None = None,
        ensemble: int = 1,
        size: int | None = None,
        seed: int = 0,
        reply: str = "float32",
        sparse: Sparse | None = None,
        latest: str | None = None,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Send a request and return at once.

        Args:
            image: See :meth:`predict`. An array must not change until the job is done.
            model: A name from ``hello().models``; None for the server's default.
            steps: Network evaluations; None for the model's default.
            ensemble: Members; more than 1 gives an uncertainty.
            size: Processing long edge, pixels; 0 the image's own; None the model's default.
            seed: Start noise.
            reply: How the map travels: "float32"; "float16" (half the bytes, 3 digits); "uint16" (linear, 16 bits);
                "png16" (the same, compressed, for slow networks).
            sparse: Metres: a map (H, W) of the image's size, 0 where nothing was measured; or (points (N, 3), Camera).
                Makes the result metric.
            latest: A name for a stream of frames, of which only the newest waiting one matters: it takes the place
                of older ones, whose jobs end with the code ``superseded``.
            timeout_s: Time allowed, after which the server stops, too. None: the client's.
            on_progress: Called in the client's thread with a :class:`Progress`; must return quickly.

        Raises:
            InputError: The image is of no kind that can be sent.
        """
        image_info, pixels_or_file = _image(image)
        sparse_info, sparse_body = _sparse(sparse) if sparse is not None else (None, None)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request = wire.Predict(
            id=_new_id(),
            image=image_info,
            session=self._session,
            model=model,
            sparse=sparse_info,
            steps=steps,
            ensemble=ensemble,
            size=size,
            seed=seed,
            reply=reply,
            latest=latest,
            deadline_s=timeout_s if timeout_s <= wire.Limits.deadline_s else None,
            progress=on_progress is not None,
        )
        job = Job(request.id, self._cancel, on_progress)
        bodies = [pixels_or_file] if sparse is None else [pixels_or_file, sparse_body]
        lent = _Lent.of(self._link.loan, request, pixels_or_file)
        self._link.send(_Pending(job, request, timeout_s, bodies, lent))
        return job

    def _cancel(self, job: Job) -> None:
        if not job.done():
            job._finish(Cancelled("the request was cancelled"))
            self._link.forget(job.id, wire.pack(wire.request_header(wire.Cancel(job.id, self._session))))

    def _ask(self, request: wire.Hello | wire.Status, timeout_s: float | None) -> Mapping[str, Any]:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        job = Job(request.id, self._cancel, None)
        self._link.send(_Pending(job, request, timeout_s))
        header: Mapping[str, Any] = job.future.result()
        return header


@dataclass(frozen=True)
class _Lent:
    """The part of a loan that a request uses: its image, and room for its maps."""

    loan: Loan
    image: Room
    maps: tuple[Room, ...]

    @classmethod
    def of(cls, loan: Loan | None, request: wire.Predict, image: Any) -> _Lent | None:
        """The image copied to where the server sees it; None if there is no loan, no room or no need."""
        need = _need_bytes(request)
        if loan is None or not need:
            return None
        rooms = [loan.take(nbytes) for nbytes in need]
        if any(room is None for room in rooms):
            return None
        place, *maps = [room for room in rooms if room is not None]
        np.copyto(np.frombuffer(place.memory, np.uint8).reshape(image.shape), image)
        return cls(loan, place, tuple(maps))

    def apply_to(self, request: wire.Predict) -> wire.Predict:
        """The request, as one that says where everything is."""
        return replace(
            request,
            block=self.loan.number,
            image=replace(request.image, at=self.image.offset),
            maps_at=tuple(room.offset for room in self.maps),
        )

    def map_at(self, offset: int) -> memoryview:
        """What the server wrote to one of our rooms."""
        for room in self.maps:
            if room.offset == offset:
                return memoryview(room.memory)
        raise wire.WireError(f"the server put a map at {offset}, where it was not asked to")


def _need_bytes(request: wire.Predict) -> list[int]:
    """Shared memory that a request could use: for image and maps; empty if it is not worth it."""
    shape = request.image.shape
    if shape is None or math.prod(shape) < WORTH_BYTES:
        return []
    nbytes = pixels.map_nbytes(request.reply, *shape[:2])
    maps = 0 if nbytes is None else 2 if request.ensemble > 1 or request.sparse is not None else 1
    return [math.prod(shape), *[nbytes or 0] * maps]


@dataclass
class _Pending:
    """A request that has no outcome yet."""

    job: Job
    request: wire.Request
    timeout_s: float
    bodies: list[Any] = field(default_factory=list)
    lent: _Lent | None = None
    deadline: float = 0.0
    heard: float = 0.0
    sends: int = 0

    @property
    def shape(self) -> tuple[int, int] | None:
        """(H, W) of the image, if it is known here."""
        image = self.request.image if isinstance(self.request, wire.Predict) else None
        return None if image is None or image.shape is None else image.shape[:2]

    def message(self, loan: Loan | None) -> list[Any]:
        """What to send: over shared memory the first time, if it still is ours, else everything in frames."""
        request, bodies = self.request, self.bodies
        if isinstance(request, wire.Predict) and self.lent is not None and self.lent.loan is loan and not self.sends:
            request, bodies = self.lent.apply_to(request), bodies[1:]
        return wire.pack(wire.request_header(request), [_contiguous(body) for body in bodies])


@dataclass
class _Inbox:
    """What other threads want of the link's thread."""

    requests: deque[_Pending] = field(default_factory=deque)
    cancels: deque[tuple[str, list[Any]]] = field(default_factory=deque)
    stop: bool = False


class _Link(threading.Thread):
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
        self._waiting: dict[str, _Pending] = {}
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

    def send(self, pending: _Pending) -> None:
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
                pending.job._finish(Cancelled("the client was closed"))
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

    def _abandon(self, pending: _Pending | None) -> None:
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

    def _seek_loan(self, request: wire.Request) -> None:
        """Ask for shared memory, once, when a request comes that is worth it: until it is there, messages do."""
        if self._session is None or self._asked or not isinstance(request, wire.Predict):
            return
        self._need_bytes = sum(_need_bytes(request))
        if self._need_bytes:
            self._asked = True
            send_message(self._socket, wire.pack(wire.request_header(wire.Hello(_LOAN))))

    def _borrow(self, hello: Mapping[str, Any]) -> None:
        path, limits = hello.get("blocks"), hello.get("limits")
        most_bytes = limits.get("block_bytes") if isinstance(limits, dict) else None
        if self.loan is None and self._asking is None and isinstance(path, str) and isinstance(most_bytes, int):
            self._asking = ask(path, self._session or "", self._need_bytes, most_bytes)
            if self._asking is not None:
                self._poller.register(self._asking.fileno(), zmq.POLLIN)

    def _transmit(self, pending: _Pending) -> None:
        if pending.sends > self._retries:
            del self._waiting[pending.job.id]
            pending.job._finish(
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
            except wire.WireError as error:
                if error.id is not None and (pending := self._waiting.pop(error.id, None)):
                    pending.job._finish(ServingError(f"the server's answer is malformed: {error}"))

    def _dispatch(self, frames: Sequence[Any]) -> None:
        reply = wire.read_reply(frames)
        if reply.id == _LOAN and isinstance(reply, wire.Info):
            self._borrow(reply.header)
            return
        pending = self._waiting.get(reply.id or "")
        if pending is None:
            return
        pending.heard = time.monotonic()
        if isinstance(reply, Progress):
            pending.job._tell(reply)
            return
        if isinstance(reply, wire.Failure) and reply.code == "no_block" and pending.lent is not None:
            self._abandon(pending)
            self._transmit(pending)
            return
        del self._waiting[pending.job.id]
        if isinstance(reply, wire.Failure):
            if reply.code in ("cancelled", "deadline", "shutting_down"):
                self._abandon(pending)
            pending.job._finish(_as_exception(reply))
        elif isinstance(reply, wire.Info):
            pending.job._finish(reply.header)
        else:
            try:
                prediction = _as_prediction(reply, frames[2:], pending.lent)
                pending.lent = None  # the image's room is free before anybody hears of the result
                if pending.shape not in (None, prediction.shape):
                    raise wire.WireError(f"the image is {pending.shape}, the map {prediction.shape}")
                pending.job._finish(prediction)
            except LeadlineError as error:
                pending.job._finish(ServingError(f"the server's answer is malformed: {error}"))

    def _mind_the_time(self) -> None:
        now = time.monotonic()
        for id_, pending in list(self._waiting.items()):
            if now >= pending.deadline:
                del self._waiting[id_]
                self._abandon(pending)
                pending.job._finish(self._refused() or TimedOut(f"no result within {pending.timeout_s:g} s"))
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
            pending.job._finish(error)
        self._waiting.clear()


def _new_id() -> str:
    return uuid.uuid4().hex


def _as_exception(failure: wire.Failure) -> LeadlineError:
    if failure.code == "cancelled":
        return Cancelled(failure.message)
    if failure.code == "deadline":
        return TimedOut(failure.message)
    kinds = {"busy": Busy, "rate_limited": Busy}
    for code in ("bad_request", "bad_image", "bad_option", "unknown_model"):
        kinds[code] = Refused  # type: ignore[assignment]
    return kinds.get(failure.code, ServerError)(failure.code, failure.message)


def _as_prediction(result: wire.Result, bodies: Sequence[Any], lent: _Lent | None) -> DepthPrediction:
    carried = iter(bodies)

    def decoded(info: wire.MapInfo) -> npt.NDArray[np.float32]:
        if info.at is None:
            return pixels.decode_map(info, next(carried))
        if lent is None:
            raise wire.WireError("the server put a map into shared memory that it was not given")
        return pixels.decode_map(info, lent.map_at(info.at))

    return DepthPrediction(
        values=decoded(result.values),
        space=Space(result.space),
        uncertainty=None if result.uncertainty is None else decoded(result.uncertainty),
        metric=result.metric,
        model=result.model,
        meta=result.meta,
    )


def _image(image: Image) -> tuple[wire.ImageInfo, Any]:
    if isinstance(image, str | Path):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise InputError(f"{image} cannot be read ({error.strerror}); check the path") from error
    if isinstance(image, bytes | bytearray | memoryview):
        encoding = "png" if bytes(image[:4]) == b"\x89PNG" else "jpeg"
        if encoding == "jpeg" and bytes(image[:2]) != b"\xff\xd8":
            raise InputError("these bytes are neither JPEG nor PNG; send the pixels as an array")
        return wire.ImageInfo(encoding), image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an image is a uint8 array, JPEG or PNG bytes, or a path, not {kind}; convert it")
    rgb = image[:, :, None] if image.ndim == 2 else image
    if rgb.ndim != 3 or rgb.shape[2] not in (1, 3, 4):
        raise InputError(f"an image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {image.shape}")
    rgb = rgb[:, :, :3]
    height, width, channels = rgb.shape
    return wire.ImageInfo("raw", (height, width, channels)), rgb


def _contiguous(body: Any) -> Any:
    return np.ascontiguousarray(body).data if isinstance(body, np.ndarray) else body


def _sparse(sparse: Sparse) -> tuple[wire.SparseInfo, Any]:
    numbers, camera = sparse if isinstance(sparse, tuple) else (sparse, None)
    numbers = np.ascontiguousarray(numbers, "<f4")
    if numbers.ndim != 2 or (camera is not None and numbers.shape[1] != 3):
        raise InputError(f"sparse depth is a map (H, W), or points (N, 3) with a Camera; not {numbers.shape}")
    rows, columns = numbers.shape
    return wire.SparseInfo("map" if camera is None else "points", (rows, columns), camera), numbers.data
