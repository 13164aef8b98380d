"""Where a data set's files lie: a folder, or a tar archive read in place."""

from __future__ import annotations

import tarfile
import threading
from pathlib import Path
from typing import Any, Protocol

from leadline.errors import InputError


class Store(Protocol):
    """Files by their relative POSIX path. Can be pickled, so that workers open it themselves."""

    root: Path

    def paths(self) -> list[str]:
        """All files, sorted."""

    def read(self, path: str) -> bytes:
        """One file's content; raises :class:`InputError` if it is missing or unreadable."""


class FolderStore:
    """A folder, with everything below it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[str]:
        return sorted(p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file())

    def read(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing under {self.root}") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


class TarStore:
    """A tar archive (best uncompressed: compressed ones are read from the start for every file)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        try:
            self._tar = tarfile.open(self.root)  # noqa: SIM115  (stays open for the life of the store)
            self._members = {m.name.removeprefix("./"): m for m in self._tar.getmembers() if m.isfile()}
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(f"{self.root} cannot be read as a tar archive ({error}); download it again") from error

    def paths(self) -> list[str]:
        return sorted(self._members)

    def read(self, path: str) -> bytes:
        member = self._members.get(path)
        if member is None:
            raise InputError(f"{path} is missing in {self.root}")
        with self._lock:
            try:
                file = self._tar.extractfile(member)
                data = file.read() if file else b""
            except (tarfile.TarError, OSError, EOFError) as error:
                raise InputError(f"{path} in {self.root} cannot be read ({error})") from error
        if len(data) != member.size:
            raise InputError(f"{path} in {self.root} is cut short; download the archive again")
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]


def open_store(root: str | Path) -> Store:
    """The store at ``root``: a folder or a tar file."""
    root = Path(root)
    if root.is_dir():
        return FolderStore(root)
    if root.is_file():
        return TarStore(root)
    raise InputError(f"{root} is neither a folder nor an archive; check --root")
