"""The server's entrance: the clients' socket, who may come through it, and what they are sent."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Iterator, Mapping, Sequence
from logging import WARNING
from typing import Any

import zmq

from leadline.errors import InputError
from leadline.serving.client.keys import KeyRing
from leadline.serving.logs import log
from leadline.serving.protocol import wire
from leadline.serving.protocol.frames import next_message, send_message
from leadline.serving.server.access import Connection, Doorkeeper, Gate, connection_budget
from leadline.serving.server.metrics import Metrics


class Entrance:
    """Listens at an address, admits clients by their keys (and workers by theirs), takes messages and sends answers.

    Attributes:
        address: Where it listens; the port is the real one.
        has_keys: Whether clients are known by keys.

    Args:
        context: Of the sockets.
        address: ``tcp://host:port`` or ``ipc://path``.
        frame_bytes: Largest frame that a client may send.
        ring: Keys of the clients; None: everybody may come in.
        worker_key: Public key of workers on other machines; "" where there are none.
        metrics: Counts who was turned away and what could not be delivered.

    Raises:
        InputError: The address cannot be bound.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        frame_bytes: int,
        ring: KeyRing | None,
        worker_key: str,
        metrics: Metrics,
    ) -> None:
        self._context, self._frame_bytes, self._ring, self._worker_key = context, frame_bytes, ring, worker_key
        self._metrics = metrics
        self._most = connection_budget()
        self._inner: zmq.Socket[Any] | None = None
        self.has_keys = ring is not None
        self._gate = Gate(context, self._allowed, lambda: metrics.count("refused_connections_total"))
        try:
            self._open(address)
        except BaseException:
            self._gate.stop()
            raise

    def open_inner(self, address: str) -> str:
        """Listen for the gateway, whose messages begin with whose they are; the address to tell it."""
        self._inner = inner = self._context.socket(zmq.ROUTER)
        inner.linger, inner.rcvhwm, inner.sndhwm = 0, 0, 1000
        inner.router_mandatory = True
        inner.bind(address)
        return str(inner.last_endpoint.decode().rstrip("\0"))

    @property
    def sockets(self) -> tuple[zmq.Socket[Any], ...]:
        """What to wait for; new ones after :meth:`reopen`."""
        return (
            (self._socket, self._door.monitor)
            if self._inner is None
            else (self._socket, self._door.monitor, self._inner)
        )

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._door.open)

    def attend(self, ready: Mapping[Any, int]) -> bool:
        """Name who was turned away; whether there are messages to take."""
        if self._door.monitor in ready:
            for address in self._door.watch():
                self._metrics.count("refused_connections_total")
                log("refused connection", WARNING, address=address, reason="it showed no valid key or spoke no ZeroMQ")
        return self._socket in ready or self._inner in ready

    def messages(self, most: int) -> Iterator[tuple[Connection, list[Any]]]:
        """Messages that are there, up to ``most`` of each entrance: who sent it, and its frames."""
        if self._inner is not None:
            for _ in range(most):
                if (message := next_message(self._inner)) is None:
                    break
                route, *frames = message
                if frames:
                    client = frames[0].bytes.decode(errors="replace")
                    yield Connection(route.bytes, client, inner=True), frames[1:]
        for _ in range(most):
            if (message := next_message(self._socket)) is None:
                return
            route, *frames = message
            sender = self._door.connection(route.bytes, frames[0] if frames else route, self.has_keys)
            if sender is None:
                self._metrics.count("malformed_total")
            else:
                yield sender, frames

    def cut(self, connection: Connection, reason: str) -> None:
        """End one connection."""
        if not connection.inner and self._door.cut(connection):
            self._metrics.count("cut_connections_total")
            log("cut connection", WARNING, address=connection.peer, client=connection.client, reason=reason)

    def cut_clients(self, clients: set[str], reason: str) -> None:
        """End every connection of these clients."""
        for connection in self._door.of(clients):
            self.cut(connection, reason)

    def send(self, to: Connection, header: Mapping[str, Any], bodies: Sequence[Any] = ()) -> bool:
        """Whether the client is still there."""
        socket = self._inner if to.inner and self._inner is not None else self._socket
        try:
            send_message(socket, [to.route, *wire.pack(header, bodies)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self._metrics.count("undelivered_total")
            return error.errno == zmq.EAGAIN and header["op"] == "progress"  # it is only slow: the next one will do
        return True

    def reopen(self) -> None:
        """Drop every connection and with them all messages that never end, for which libzmq has no limit: it keeps
        their parts until the last one comes. Honest clients come back and find their requests."""
        self._close_socket()
        for attempt in range(50):  # the old socket lets go of the address in its own time
            try:
                self._open(self.address)
                break
            except InputError:
                self._door.monitor.close(0)
                self._socket.close(0)
                if attempt == 49:
                    raise
                time.sleep(0.1)
        with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc alone has it
            ctypes.CDLL(None).malloc_trim(0)

    def close(self) -> None:
        """Send what is on its way (for a second) and close."""
        self._close_socket(linger=1000)
        if self._inner is not None:
            self._inner.close(1000)
        self._gate.stop()

    def _open(self, address: str) -> None:
        self._socket = socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.router_mandatory = True  # sending to a client that went away is an error we want to know of
        socket.maxmsgsize = self._frame_bytes
        # No ZMQ_HEARTBEAT_IVL and no receive limit: a peer that goes away while reading from it is paused makes libzmq
        # 4.3.5 abort the process at the next heartbeat (stream_engine_base.cpp, "!_io_error"). Ticks take the place of
        # heartbeats, reopen() that of the limit, and the kernel drops peers that acknowledge nothing.
        socket.rcvhwm, socket.sndhwm = 0, 64
        socket.handshake_ivl = 5000
        socket.tcp_keepalive, socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl = 1, 30, 10
        socket.setsockopt(zmq.TCP_MAXRT, 30_000)
        if self._ring is not None:
            socket.zap_domain = b"clients"
            socket.curve_server = True
            socket.curve_secretkey = self._ring.server().secret.encode()
        self._door = Doorkeeper(socket, self._most)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise InputError(f"{address} cannot be bound ({error.strerror}); is a server running there?") from error
        self.address: str = socket.last_endpoint.decode().rstrip("\0")

    def _close_socket(self, linger: int = 0) -> None:
        self._socket.disable_monitor()
        self._door.monitor.close(0)
        self._socket.close(linger)

    def _allowed(self, domain: str) -> Mapping[str, str]:
        if domain == "workers":
            return {self._worker_key: "worker"} if self._worker_key else {}
        return self._ring.clients() if self._ring is not None else {}
