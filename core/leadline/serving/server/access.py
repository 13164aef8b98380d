"""Who may come in, who is who, and who is made to leave."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from logging import DEBUG, WARNING
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from leadline.serving.logs import log
from leadline.serving.protocol.addresses import client_by_address

#: Descriptors that the front keeps for itself: sockets, workers, decoders, logs, lent memory.
RESERVED_DESCRIPTORS = 256
MOST_DESCRIPTORS = 65_536
#: Events of the listening socket that are looked at in one go.
_MOST_EVENTS = 1000
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
#: What is told. Failed attempts to accept are not: a process without descriptors makes them without end.
_WATCHED = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _FAILED


class Gate(ThreadAuthenticator):
    """Answers ZeroMQ's authentication requests (ZAP, RFC 27) in a thread of its own.

    Args:
        context: Of the sockets.
        allowed: ZAP domain → public key → name of those who may come in.
        refused: Called, in that thread, for each who may not.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        allowed: Callable[[str], Mapping[str, str]],
        refused: Callable[[], None],
    ) -> None:
        super().__init__(context, log=_Silent())
        self._allowed_keys, self._refused = allowed, refused
        self._names: dict[bytes, str] = {}
        self._address = "unknown"
        for domain in ("clients", "workers"):
            self.configure_curve_callback(domain, credentials_provider=self)
        self.start()

    async def handle_zap_message(self, msg: list[bytes]) -> None:
        """Answer one request; whatever goes wrong, the next one is answered, too."""
        self._address = msg[3].decode(errors="replace") if len(msg) > 3 else "unknown"
        try:
            await super().handle_zap_message(msg)
        except Exception:
            log("authentication failed", WARNING, exc_info=True)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the owner of a public key may come in."""
        text = key.decode(errors="replace")
        name = self._allowed_keys(domain).get(text)
        if name is None:
            self._refused()
            log("refused connection", WARNING, address=self._address, key=text, to=domain)
            return False
        self._names[z85.decode(key)] = name
        log("admitted", DEBUG, address=self._address, name=name)
        return True

    def curve_user_id(self, client_public_key: bytes) -> str:
        """What messages of this connection say of who sent them."""
        return self._names.get(client_public_key, "")


class _Silent:
    """The library's own log would name every connection attempt."""

    def debug(self, *_: object) -> None:
        return

    info = warning = error = debug


@dataclass(frozen=True)
class Connection:
    """The way back to who sent a message.

    Attributes:
        route: Its name at the socket.
        client: Whose it is.
        descriptor, peer: Of the connection to the listening socket; -1 and what the gateway says for one of HTTP.
        inner: It came through the gateway.
    """

    route: bytes
    client: str
    descriptor: int = -1
    peer: str = ""
    inner: bool = False


class Doorkeeper:
    """Watches a listening socket: who comes, who is turned away, who leaves, and how many there are.

    libzmq tells of a failed handshake without an address, so it is matched by descriptor: the disconnection that follows
    a failure belongs to it. It cannot close one connection of many, so this shuts the connection's socket down.

    Args:
        listening: The socket.
        most: Connections at once. Beyond them, those go first that have not sent a message yet.
    """

    def __init__(self, listening: zmq.Socket[bytes], most: int) -> None:
        self.monitor = _events_of(listening)
        self.open: dict[int, str] = {}  # descriptor → peer, oldest first
        self._most = most
        self._routes: dict[int, bytes] = {}
        self._known: dict[bytes, Connection] = {}
        self._failures = 0

    def watch(self) -> list[str]:
        """Addresses of peers turned away since the last call ("unknown" if it could not be learnt)."""
        turned_away = []
        for _ in range(_MOST_EVENTS):
            if not self.monitor.poll(0):
                break
            message = recv_monitor_message(self.monitor)
            event, value = message["event"], message["value"]
            if event == zmq.EVENT_ACCEPTED:
                self._forget(value)
                self.open[value] = _peer(value)
                if len(self.open) > self._most:
                    self._thin_out()
            elif event & _FAILED:
                self._failures += 1
            elif event == zmq.EVENT_DISCONNECTED:
                address = self.open.get(value, "unknown")
                self._forget(value)
                if self._failures:
                    self._failures -= 1
                    turned_away.append(address)
        return turned_away

    def connection(self, route: bytes, first: Any, with_keys: bool) -> Connection | None:
        """Who sends over a route, from the first frame of a message; None of a peer that never said how it speaks."""
        known = self._known.get(route)
        if known is None:
            try:
                descriptor = first.get(zmq.SRCFD)
            except zmq.ZMQError:  # ZeroMQ 1 has no handshake: its messages say nothing of where they are from
                return None
            peer = self.open.get(descriptor) or _peer(descriptor)
            known = Connection(route, _client(route, first, with_keys, peer), descriptor, peer)
            if len(self._known) > 4 * self._most:
                self._known.clear()
            self._known[route] = known
            self._routes[descriptor] = route
        return known

    def cut(self, connection: Connection) -> bool:
        """End a connection; whether it was still there."""
        self._known.pop(connection.route, None)
        return _shut(connection.descriptor, connection.peer)

    def of(self, names: set[str]) -> list[Connection]:
        """Connections of these clients."""
        return [one for one in self._known.values() if one.client in names]

    def _thin_out(self) -> None:
        """One connection too many: the oldest that never sent a message goes, or else the newest."""
        strangers = (descriptor for descriptor in self.open if descriptor not in self._routes)
        descriptor = next(strangers, None)
        if descriptor is None:
            descriptor = next(reversed(self.open))
        _shut(descriptor, self.open.pop(descriptor))

    def _forget(self, descriptor: int) -> None:
        self.open.pop(descriptor, None)
        route = self._routes.pop(descriptor, None)
        if route is not None:
            self._known.pop(route, None)


def _events_of(listening: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """A socket that tells a listening socket's events, with room for any number: when one finds no room, libzmq's thread waits
    with a lock that the end of the listening socket needs."""
    address = f"inproc://events-{secrets.token_hex(8)}"
    listening.monitor(address, _WATCHED)
    events = listening.context.socket(zmq.PAIR)
    events.linger, events.rcvhwm = 0, 0
    events.connect(address)
    return events


def connection_budget() -> int:
    """Connections that this process has descriptors for, after asking the system for as many as it gives."""
    try:
        import resource  # noqa: PLC0415  (Windows has none)
    except ImportError:
        return 1024 - RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(16, (MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) - RESERVED_DESCRIPTORS)


def _client(route: bytes, first: Any, with_keys: bool, peer: str) -> str:
    """The name of the key; else the address; else, on this machine, where all have the same one, the connection."""
    if with_keys:
        with contextlib.suppress(zmq.ZMQError):
            return f"key:{first.get('User-Id')}"
    return client_by_address(peer.rpartition(":")[0], route.hex())


def _peer(descriptor: int) -> str:
    try:
        with _borrowed(descriptor) as connection:
            return _name(connection)
    except OSError:
        return "unknown"


def _shut(descriptor: int, peer: str) -> bool:
    """Shut a socket down, if it still is the connection to this peer."""
    try:
        with _borrowed(descriptor) as connection:
            if _name(connection) != peer:
                return False
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A second way to the socket behind a descriptor of libzmq's, which may have closed it meanwhile: its number may now be
    that of a pipe, whose end nobody would see if the duplicate stayed."""
    duplicate = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    with connection:
        yield connection


def _name(connection: socket.socket) -> str:
    name = connection.getpeername()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "local socket"
