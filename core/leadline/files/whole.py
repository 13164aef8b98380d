"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from leadline.errors import LeadlineError


def write_bytes(path: Path, content: bytes) -> None:
    """A file that is either complete or not there.

    Raises:
        LeadlineError: It cannot be written (disk full, no permission).
    """
    with whole_file(path) as temporary:
        temporary.path.write_bytes(content)


class whole_file:
    """A temporary file beside ``path`` that takes its place when nothing went wrong, and vanishes otherwise."""

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path = path

    def __enter__(self) -> whole_file:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.target.parent, prefix=f".{self.target.name}.")
        except OSError as error:
            raise cannot_write(self.target, error) from error
        os.close(handle)
        self.path = Path(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                os.chmod(self.path, 0o644)
                os.replace(self.path, self.target)
            elif isinstance(error, OSError):
                raise cannot_write(self.target, error) from error
        except OSError as failed:
            raise cannot_write(self.target, failed) from failed
        finally:
            self.path.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> LeadlineError:
    """The line for a file that cannot be written, with the cure that fits the cause."""
    if error.errno == errno.ENOSPC:
        cure = "free some space or choose another folder"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        return LeadlineError(f"{path} cannot be written: a file has the name of a folder in it; choose another folder")
    elif error.errno == errno.EISDIR:
        cure = "a folder has that name; choose another"
    else:
        cure = "choose another folder"
    return LeadlineError(f"{path} cannot be written ({error.strerror or error}); {cure}")
