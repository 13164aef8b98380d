"""Memory that the server's front and its local workers share, so that pixels are not sent between them.

The block is anonymous: workers inherit its descriptor, and the operating system frees it with the last process that
holds it, however that process ends. Where there is no such memory (not Linux), or none left, bytes travel in messages.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from bisect import insort


class Allocator:
    """First-fit places in [0, size). Low places first, so that memory once touched is used again."""

    ALIGNMENT = 4096

    def __init__(self, size: int) -> None:
        self._free: list[tuple[int, int]] = [(0, size)]
        self._taken: dict[int, int] = {}

    def take(self, nbytes: int) -> int | None:
        """The offset of ``nbytes`` of room, or None if there is none."""
        room = -(-max(nbytes, 1) // self.ALIGNMENT) * self.ALIGNMENT
        for i, (start, length) in enumerate(self._free):
            if length >= room:
                self._free[i : i + 1] = [(start + room, length - room)] if length > room else []
                self._taken[start] = room
                return start
        return None

    def give_back(self, offset: int) -> None:
        """Free what :meth:`take` gave."""
        insort(self._free, (offset, self._taken.pop(offset)))
        merged: list[tuple[int, int]] = []
        for start, length in self._free:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self._free = merged


class Arena:
    """A shared block, by its descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self._map = mmap.mmap(descriptor, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self._view = memoryview(self._map)

    @classmethod
    def create(cls, size: int) -> Arena | None:
        """A new block of ``size`` bytes, none of it in use until it is touched; None where this cannot be had."""
        if size <= 0 or not hasattr(os, "memfd_create"):
            return None
        try:
            descriptor = os.memfd_create("leadline", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
            return cls(descriptor, size)
        except OSError:
            return None

    @classmethod
    def of_process(cls, pid: int, descriptor: int, size: int) -> Arena:
        """The block behind a descriptor of another process of this user.

        Raises:
            OSError: It cannot be had.
        """
        with open(f"/proc/{pid}/fd/{descriptor}", "r+b", buffering=0) as file:
            return cls(file.fileno(), size)

    def view(self, offset: int, nbytes: int) -> memoryview:
        """The bytes [offset, offset + nbytes)."""
        return self._view[offset : offset + nbytes]
