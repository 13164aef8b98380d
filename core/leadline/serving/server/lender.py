"""Memory lent to clients on the same machine, so that pixels pass between them and the workers without a socket.

The server makes a block for each client that asks, over a socket file in a folder that only its own user can enter, and
sends its descriptor. Blocks are sealed: nobody can shrink one under the other's feet. A connection is a loan: when it
closes, because the client wants no more or is dead, the block goes, as soon as no request uses it. ``docs/protocol.md``
describes the exchange. Linux only; everywhere else, and whenever a block has no room, pixels travel in messages.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import select
import socket
import struct
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

from leadline.serving.protocol.messages import BLOCK_ALIGNMENT, LOAN_MESSAGE_BYTES

_MOST_CONNECTIONS = 64
_SESSION = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(eq=False)
class Block:
    """A lent block. Its descriptor closes with the last reference: requests that use it keep it."""

    number: int
    session: str
    descriptor: int
    nbytes: int

    def holds(self, offset: int, nbytes: int) -> bool:
        """Whether ``nbytes`` from ``offset`` lie in it, and begin where they may."""
        return offset >= 0 and offset % BLOCK_ALIGNMENT == 0 and offset + nbytes <= self.nbytes

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
        self._held_bytes = 0
        self._kept: list[tuple[int, int, int]] = []  # what was given back: process, inode, bytes
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
            idle = next((fd for fd, (_, block) in self._connections.items() if block is None), None)
            if idle is None:
                connection.close()
                return
            self._part(idle)  # it has asked for nothing so far
        connection.setblocking(False)
        self._connections[connection.fileno()] = connection, None
        self._epoll.register(connection, select.EPOLLIN)

    def _hear(self, descriptor: int) -> None:
        """A connection asks once; whatever it says then, or its end, is goodbye."""
        connection, block = self._connections[descriptor]
        try:
            message = connection.recv(LOAN_MESSAGE_BYTES)
            if message and block is None:
                block = self._lend(message, _peer_pid(connection))
                answer = json.dumps({"block": block.number, "nbytes": block.nbytes}).encode()
                socket.send_fds(connection, [answer], [block.descriptor])
                self._connections[descriptor], self._blocks[block.number] = (connection, block), block
                return
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            pass  # no block, no answer: the client sends its pixels in messages
        self._part(descriptor)

    def _lend(self, message: bytes, pid: int) -> Block:
        wish = json.loads(message)
        session, nbytes = wish["session"], wish["nbytes"]
        if not _SESSION.fullmatch(session) or type(nbytes) is not int or not 0 < nbytes <= self._block_bytes:
            raise ValueError("not a wish that can be granted")
        nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if self.held_bytes + nbytes > self._total_bytes:
            raise ValueError("there is no more")
        self._numbers += 1
        block = Block(self._numbers, session, _sealed_memory(nbytes), nbytes)
        self._held_bytes += nbytes
        inode = os.fstat(block.descriptor).st_ino
        weakref.finalize(block, self._bury, block.number, block.descriptor, pid, inode, nbytes).atexit = False
        return block

    def _bury(self, number: int, descriptor: int, pid: int, inode: int, nbytes: int) -> None:
        os.close(descriptor)
        self._kept.append((pid, inode, nbytes))
        self.gone.append(number)

    @property
    def held_bytes(self) -> int:
        """Bytes that are lent, or were given back by a process that still holds on to them."""
        kept = [one for one in self._kept if _holds(*one[:2])]
        self._held_bytes -= sum(one[2] for one in self._kept) - sum(one[2] for one in kept)
        self._kept = kept
        return self._held_bytes

    def _part(self, descriptor: int) -> None:
        connection, block = self._connections.pop(descriptor)
        if block is not None:
            del self._blocks[block.number]
        self._epoll.unregister(descriptor)
        connection.close()


def _peer_pid(connection: socket.socket) -> int:
    """The process at the other end, as it was when it connected."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def _holds(pid: int, inode: int) -> bool:
    """Whether a process has lent memory mapped or open."""
    try:
        with open(f"/proc/{pid}/maps") as maps:
            if any("memfd:leadline-block" in line and line.split()[4] == str(inode) for line in maps):
                return True
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if "memfd:leadline-block" in os.readlink(entry.path) and os.stat(entry.path).st_ino == inode:
                    return True
    except OSError:  # it is gone
        pass
    return False


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
