"""Memory that a server on this machine lends us, so that pixels pass without a socket (see ``docs/protocol.md``)."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

from leadline.serving.protocol.arena import Allocator
from leadline.serving.protocol.messages import LOAN_MESSAGE_BYTES

#: Smaller images are as quick in a message.
WORTH_BYTES = 64 * 1024
_GRAIN = 16 << 20


@dataclass(frozen=True)
class Room:
    """A place in a loan, free again when nobody holds ``memory`` or a view of it any more."""

    offset: int
    memory: Any


class Loan:
    """A block that a server lent us. Threads may share it.

    Args:
        connection: Over which it came; closing it gives the block back.
        descriptor: Of the memory; closed here.
        number: The server's number for it.
        nbytes: Its size.

    Raises:
        OSError, ValueError: The memory is not what the server said.
    """

    def __init__(self, connection: socket.socket, descriptor: int, number: int, nbytes: int) -> None:
        self.number = number
        self._connection = connection
        try:
            self._map = mmap.mmap(descriptor, nbytes)
        finally:
            os.close(descriptor)
        self._rooms = Allocator(nbytes)
        self._lock = threading.Lock()
        # Rooms come back from whichever thread drops an array, perhaps in the middle of take(): hence not the lock.
        self._returned: deque[int] = deque()

    def take(self, nbytes: int) -> Room | None:
        """Room for ``nbytes``; None if there is none."""
        with self._lock:
            while self._returned:
                self._rooms.give_back(self._returned.popleft())
            offset = self._rooms.take(nbytes)
        if offset is None:
            return None
        memory = (ctypes.c_ubyte * nbytes).from_buffer(self._map, offset)
        weakref.finalize(memory, self._returned.append, offset).atexit = False
        return Room(offset, memory)

    def end(self) -> None:
        """Give the block back. What views of it hold stays readable."""
        self._connection.close()


def ask(path: str, session: str, need_bytes: int, most_bytes: int) -> socket.socket | None:
    """Ask a server for a block with room for a few requests of ``need_bytes``; None if there is no such server here.

    The socket becomes readable when there is an answer for :func:`receive`.
    """
    if not hasattr(socket, "SOCK_SEQPACKET") or not hasattr(socket, "recv_fds"):
        return None
    nbytes = min(most_bytes, -(-4 * need_bytes // _GRAIN) * _GRAIN)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)
        connection.connect(path)
        connection.send(json.dumps({"session": session, "nbytes": nbytes}).encode())
    except (OSError, ValueError):
        connection.close()
        return None
    return connection


def receive(connection: socket.socket) -> Loan | None:
    """The loan that the server grants over a connection of :func:`ask`; None if it does not."""
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, LOAN_MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        answer = json.loads(message)
        return Loan(connection, descriptors[0], int(answer["block"]), int(answer["nbytes"]))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        connection.close()
        return None
