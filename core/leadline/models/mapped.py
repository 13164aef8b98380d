"""Weights that lie in memory as pages of their file are given back once they are copied. Linux only.

The pages stay in the system's cache of files, where the next start finds them, and leave this process.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

_DONT_NEED = 4  # Linux's own number


class Mapping:
    """Where safetensors files are mapped into this process.

    Attributes:
        ranges: (first, last) addresses, the last one exclusive, of parts that were never written to: a page that was is not its
            file's, and giving it back would lose it.
    """

    def __init__(self) -> None:
        self.ranges = _unwritten() if sys.platform.startswith("linux") else []
        self._advise = getattr(ctypes.CDLL(None), "madvise", None) if self.ranges else None
        if self._advise is not None:
            self._advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def give_back(self, tensors: Iterable[Tensor]) -> None:
        """Take the pages of tensors out of this process. Whoever touches them again reads them from the file."""
        if self._advise is None:
            return
        page = mmap.PAGESIZE
        for tensor in tensors:
            first = tensor.data_ptr()
            last = first + tensor.numel() * tensor.element_size()
            if not any(start <= first and last <= end for start, end in self.ranges):
                continue
            # Only whole pages: those at the ends hold other tensors, too.
            first, last = -(-first // page) * page, last // page * page
            if last > first:
                self._advise(first, last - first, _DONT_NEED)


def _unwritten() -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    try:
        if ".safetensors" not in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace"):
            return []  # a tenth of the time of looking at every page
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as lines:
            candidate: tuple[int, int] | None = None
            for line in lines:
                word, _, rest = line.partition(" ")
                if not word.endswith(":"):
                    first, _, last = word.partition("-")
                    mapped = rest.rstrip().removesuffix(" (deleted)").endswith(".safetensors")
                    candidate = (int(first, 16), int(last, 16)) if mapped else None
                elif word == "Anonymous:" and candidate is not None and rest.split()[0] == "0":
                    found.append(candidate)
    except OSError:
        return []
    return found
