"""Messages to and from a socket, uncopied, without the detours of pyzmq's own ``*_multipart``.

Those build an enumeration for every flag and raise an exception to say that nothing waits: a quarter of what a small
request costs the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

_NOBLOCK, _SNDMORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)


def send_message(socket: zmq.Socket[Any], parts: Sequence[Any], flags: int = 0) -> None:
    """Send all parts; large ones are not copied and must not change until they are sent.

    Raises:
        zmq.ZMQError: The peer is gone, or (with ``flags=zmq.NOBLOCK``) too slow.
    """
    flags = int(flags)
    for part in parts[:-1]:
        socket.send(part, flags | _SNDMORE, copy=False)
    socket.send(parts[-1], flags, copy=False)


def receive_message(socket: zmq.Socket[Any]) -> list[zmq.Frame]:
    """Wait for a message."""
    parts = [socket.recv(copy=False)]
    while parts[-1].more:
        parts.append(socket.recv(copy=False))
    return parts


def next_message(socket: zmq.Socket[Any]) -> list[zmq.Frame] | None:
    """A message that waits; None if none does."""
    if not int(socket.get(zmq.EVENTS)) & _POLLIN:
        return None
    try:
        parts = [socket.recv(_NOBLOCK, copy=False)]
    except zmq.Again:
        return None
    while parts[-1].more:
        parts.append(socket.recv(copy=False))
    return parts
