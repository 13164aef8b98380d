"""Memory lent to clients on the same machine, so that pixels pass between them and the workers without a socket.

The server makes a block for each client that asks, over a socket file in a folder that only its own user can enter, and
sends its descriptor. Blocks are sealed: nobody can shrink one under the other's feet. A connection is a loan: when it
closes, because the client wants no more or is dead, the block goes, as soon as no request uses it. ``docs/protocol.md``
describes the exchange. Linux only; everywhere else, and whenever a block has no room, pixels travel in messages.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import re
import select
import socket
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

from leadline.serving.protocol.arena import Allocator

#: Smaller images are as quick in a message.
WORTH_BYTES = 64 * 1024
#: Places in a block begin at multiples of this.
ALIGNMENT = 64
_MESSAGE_BYTES = 4096
_GRAIN = 16 << 20
_MOST_CONNECTIONS = 64
_SESSION = re.compile(r"[A-Za-z0-9_-]{16,64}")


# --- the server's side


@dataclass(eq=False)
class Block:
    """A lent block. Its descriptor closes with the last reference: requests that use it keep it."""

    number: int
    session: str
    descriptor: int
    nbytes: int

    def holds(self, offset: int, nbytes: int) -> bool:
        """Whether ``nbytes`` from ``offset`` lie in it, and begin where they may."""
        return offset >= 0 and offset % ALIGNMENT == 0 and offset + nbytes <= self.nbytes

    def place(self, offset: int, nbytes: int) -> list[Any]:
        """Part of it, as workers are told."""
        return ["block", self.number, self.descriptor, self.nbytes, offset, nbytes]


class Lender:
    """Hands out blocks. Its :meth:`fileno` is readable when :meth:`attend` has something to do.

    Args:
        path: Of the socket file.
        block_bytes: Largest block.
        total_bytes: All blocks together.

    Raises:
        OSError: The socket cannot be made.
    """

    def __init__(self, path: str, block_bytes: int, total_bytes: int) -> None:
        self.path = path
        self.held_bytes = 0
        self.gone: deque[int] = deque()  # numbers of blocks that nobody uses any more
        self._block_bytes, self._total_bytes = block_bytes, total_bytes
        self._numbers = 0
        self._blocks: dict[int, Block] = {}
        self._connections: dict[int, tuple[socket.socket, Block | None]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind(path)
        self._listener.listen(64)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    @classmethod
    def create(cls, path: str, block_bytes: int, total_bytes: int) -> Lender | None:
        """A lender, or None where this cannot be had or is not wanted (``total_bytes`` 0)."""
        if min(block_bytes, total_bytes) <= 0 or not hasattr(os, "memfd_create"):
            return None
        try:
            return cls(path, block_bytes, total_bytes)
        except OSError:
            return None

    def fileno(self) -> int:
        return self._epoll.fileno()

    def find(self, number: int, session: str | None) -> Block | None:
        """The block of this number, if it was lent to this session."""
        block = self._blocks.get(number)
        return block if block is not None and block.session == session else None

    def attend(self) -> None:
        """Lend to those who ask, and take back from those who left."""
        for descriptor, _ in self._epoll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
            else:
                self._hear(descriptor)

    def close(self) -> None:
        """Lend no more."""
        for descriptor in list(self._connections):
            self._part(descriptor)
        self._epoll.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= _MOST_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._connections[connection.fileno()] = connection, None
        self._epoll.register(connection, select.EPOLLIN)

    def _hear(self, descriptor: int) -> None:
        """A connection asks once; whatever it says then, or its end, is goodbye."""
        connection, block = self._connections[descriptor]
        try:
            message = connection.recv(_MESSAGE_BYTES)
            if message and block is None:
                block = self._lend(message)
                answer = json.dumps({"block": block.number, "nbytes": block.nbytes}).encode()
                socket.send_fds(connection, [answer], [block.descriptor])
                self._connections[descriptor], self._blocks[block.number] = (connection, block), block
                return
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            pass  # no block, no answer: the client sends its pixels in messages
        self._part(descriptor)

    def _lend(self, message: bytes) -> Block:
        wish = json.loads(message)
        session, nbytes = wish["session"], wish["nbytes"]
        if not _SESSION.fullmatch(session) or type(nbytes) is not int or not 0 < nbytes <= self._block_bytes:
            raise ValueError("not a wish that can be granted")
        nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if self.held_bytes + nbytes > self._total_bytes:
            raise ValueError("there is no more")
        self._numbers += 1
        block = Block(self._numbers, session, _sealed_memory(nbytes), nbytes)
        self.held_bytes += nbytes
        weakref.finalize(block, self._bury, block.number, block.descriptor, nbytes).atexit = False
        return block

    def _bury(self, number: int, descriptor: int, nbytes: int) -> None:
        os.close(descriptor)
        self.held_bytes -= nbytes
        self.gone.append(number)

    def _part(self, descriptor: int) -> None:
        connection, block = self._connections.pop(descriptor)
        if block is not None:
            del self._blocks[block.number]
        self._epoll.unregister(descriptor)
        connection.close()


def _sealed_memory(nbytes: int) -> int:
    """Descriptor of ``nbytes`` zeros, none of them in use until touched, whose size nobody can change."""
    import fcntl  # noqa: PLC0415  (Windows has none)

    descriptor = os.memfd_create("leadline-block", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, nbytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


# --- the client's side


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
        message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        answer = json.loads(message)
        return Loan(connection, descriptors[0], int(answer["block"]), int(answer["nbytes"]))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        connection.close()
        return None
