"""Who may come in: the ZeroMQ authentication protocol (ZAP, RFC 27), answered in the server's own loop."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

ZAP_ENDPOINT = "inproc://zeromq.zap.01"


@dataclass(frozen=True)
class Visitor:
    """A connection attempt: where from, with which key, under which name (empty: refused)."""

    address: str
    domain: str
    key: str
    name: str


def answer(frames: list[bytes], allowed: Callable[[str], Mapping[str, str]]) -> tuple[list[bytes], Visitor]:
    """The reply to one ZAP request.

    Args:
        frames: version, request id, domain, address, identity, mechanism, credentials...
        allowed: ZAP domain → public key → name of those who may come in.
    """
    version, request_id, domain, address, _, mechanism, *credentials = [*frames, *[b""] * 6][: max(7, len(frames))]
    key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials[0]) == 32 else ""
    domain_name = domain.decode(errors="replace")
    name = allowed(domain_name).get(key, "") if key else ""
    code, text = (b"200", b"OK") if name else (b"400", b"unknown key")
    reply = [version, request_id, code, text, name.encode(), b""]
    return reply, Visitor(address.decode(errors="replace"), domain_name, key, name)


class Doorkeeper:
    """Watches a listening socket and names the peers whose handshake fails before they show a key.

    ZAP never hears of a peer without CURVE, or of one that speaks no ZeroMQ; the socket's monitor does. It gives the
    address only when the connection is accepted, and the failure without one, so the two are matched by descriptor:
    the disconnection that follows a failure belongs to it.
    """

    def __init__(self, listening: zmq.Socket[bytes]) -> None:
        self.monitor = listening.get_monitor_socket()
        self._addresses: dict[int, str] = {}
        self._failures = 0

    def watch(self) -> list[str]:
        """Addresses of peers turned away since the last call ("unknown" if it could not be learnt)."""
        turned_away = []
        while self.monitor.poll(0):
            message = recv_monitor_message(self.monitor)
            event, value = message["event"], message["value"]
            if event == zmq.EVENT_ACCEPTED:
                if len(self._addresses) >= 4096:
                    self._addresses.clear()
                self._addresses[value] = _peer(value)
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                self._failures += 1
            elif event == zmq.EVENT_DISCONNECTED:
                address = self._addresses.pop(value, "unknown")
                if self._failures:
                    self._failures -= 1
                    turned_away.append(address)
        return turned_away


def _peer(descriptor: int) -> str:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            name = connection.getpeername()
    except OSError:
        return "unknown"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "local socket"
