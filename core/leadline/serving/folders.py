"""Folders for sockets and logs that only this user can enter, and that go even if their owner was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

_LOCK = "lock"


class PrivateFolder:
    """A new folder with mode 0700, for as long as this process lives.

    Its owner holds a lock that the system frees with the process. Making one first removes those of the same kind, of
    this user, whose owner is gone.

    Args:
        kind: What its name begins with.

    Attributes:
        path: Where it is.
    """

    def __init__(self, kind: str) -> None:
        _sweep(kind)
        self.path = Path(tempfile.mkdtemp(prefix=kind))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
        if os.name == "posix":
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove it with all it holds."""
        os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(kind: str) -> None:
    if os.name != "posix":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{kind}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its owner lives
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
