"""Which result belongs to which input.

A result is a few files that share a stem (``out/photo.depth.png`` ...) and ``out/photo.json``, its record. The record
holds the digest of the input's data, the settings and the digest of the weights; a result is finished only while all
of them still hold. Records are read without torch, so that a finished folder answers at once.

Order keeps records true through interruptions: before the first file of a result is replaced its record says
"unfinished", and after the last it says what is there. Writers of one folder take turns. Nobody's result is replaced by that of another input unless
that was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leadline.errors import InputError, LeadlineError
from leadline.files.absent import absent
from leadline.files.whole import cannot_write, write_bytes

#: A file whose inode changed less than this before it was read may change again without the clock of the file system
#: showing it. Such a file is read again next time.
SETTLING_NS = 2_000_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """An input file as it was when its data was read.

    Attributes:
        path: Absolute.
        digest: BLAKE2b of the data.
        stamp: Device, inode, size, and times of the last change of data and inode in nanoseconds.
        settled: Whether an unchanged ``stamp`` means unchanged data.
    """

    path: str
    digest: str
    stamp: tuple[int, ...]
    settled: bool


def identify(path: Path, known: Mapping[str, Any] | None = None) -> Source:
    """Read a file's digest, or take it from ``known`` (a stored :class:`Source`) if the file has not been touched since.

    Raises:
        InputError: It cannot be read, or is being written.
    """
    absolute = os.path.realpath(path)
    try:
        stamp = stamp_of(path)
        if known and known.get("settled") and known.get("path") == absolute and known.get("stamp") == list(stamp):
            return Source(absolute, str(known["digest"]), stamp, True)
        now = time.time_ns()
        digest = digest_of(path)
        if stamp_of(path) != stamp:
            raise InputError(f"{path} changed while it was read; run again when it is complete")
    except FileNotFoundError as error:
        raise absent(path) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); check the file"
        ) from error
    return Source(absolute, digest, stamp, now - max(stamp[3:]) > SETTLING_NS)


def digest_of(path: Path) -> str:
    """BLAKE2b (160 bits, hex) of a file's data.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=20)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stamp_of(path: Path) -> tuple[int, ...]:
    """What changes with a file: see :class:`Source`.

    Raises:
        InputError: It is no regular file.
        OSError: It is not there.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise InputError(f"{path} is not a file; save it as a file first")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def record_path(stem: Path) -> Path:
    """The record of the result at ``stem``."""
    return stem.with_name(f"{stem.name}.json")


def read_record(stem: Path) -> dict[str, Any]:
    """The record at ``stem``; empty if there is none that can be read."""
    try:
        record = json.loads(record_path(stem).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def finished(stem: Path, path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record at ``stem`` if it is the whole result of the data now at ``path`` with ``settings``, else None.

    Raises:
        InputError: The input cannot be read.
    """
    record = read_record(stem)
    known = record.get("source")
    if not isinstance(known, dict) or record.get("settings") != _plain(settings):
        return None
    sizes = record.get("files")
    if not isinstance(sizes, dict) or not all(_size(stem.parent / name) == size for name, size in sizes.items()):
        return None
    source = identify(path, known)
    if source.digest != known.get("digest"):
        return None
    if asdict(source) != {**known, "stamp": tuple(known["stamp"])}:  # moved, or settled since: the next look is quick
        with contextlib.suppress(LeadlineError), locked(stem.parent):
            if read_record(stem) == record:
                _write_record(stem, {**record, "source": asdict(source)})
    return record


def refuse_other(stem: Path, source: Source) -> None:
    """Complain if the result at ``stem`` is that of another file.

    Raises:
        InputError: It is; the line names it and says what to do.
    """
    record = read_record(stem)
    known = record.get("source")
    if isinstance(known, dict) and known.get("digest") != source.digest and known.get("path") != source.path:
        raise InputError(
            f"{record_path(stem)} is the result of another file ({known.get('path')}); choose another folder with -o, "
            "or replace it with --overwrite"
        )


def commit(
    stem: Path,
    source: Source,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    parts: Mapping[str, bytes | Path],
    overwrite: bool = False,
) -> dict[str, Any]:
    """Put a result in its place, all of it or nothing; what an earlier result left at ``stem`` goes.

    Args:
        stem: Common beginning of the result's files.
        source: What the result was made from.
        settings: What decides the numbers and files of a run; JSON values.
        record: What else the record says.
        parts: Suffix (".depth.png") → content, or the path of a finished file or folder on the same disk to move.
        overwrite: Replace the result of another file, too.

    Returns:
        The record as written.

    Raises:
        InputError: ``stem`` has the result of another file and ``overwrite`` is False.
        LeadlineError: It cannot be written.
    """
    with locked(stem.parent):
        if not overwrite:
            refuse_other(stem, source)
        old = _names(read_record(stem), stem)
        moves: dict[Path, Path] = {}
        temporary = stem.with_name(f".leadline.{stem.name}")
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        try:
            temporary.mkdir()
            for suffix, part in parts.items():
                staged = part if isinstance(part, Path) else temporary / suffix.lstrip(".")
                if isinstance(part, bytes):
                    staged.write_bytes(part)
                moves[stem.with_name(stem.name + suffix)] = staged
            whole = {
                **record,
                "source": asdict(source),
                "settings": _plain(settings),
                "files": {target.name: _size(staged) for target, staged in moves.items()},
            }
            new = {target.name for target in moves}
            (temporary / "json").write_text(_text(whole), encoding="utf-8")
            (temporary / "unfinished").write_text(
                _text({"unfinished": True, "files": sorted(old | new)}), encoding="utf-8"
            )
            os.replace(temporary / "unfinished", record_path(stem))
            for name in old - new:
                _remove(stem.with_name(name))
            for target, staged in moves.items():
                if target.is_dir():
                    if not all(name[:6].isdigit() for name in os.listdir(target)):
                        raise LeadlineError(f"{target} is in the way of the results; move it or choose another folder")
                    _remove(target)
                os.replace(staged, target)
            os.replace(temporary / "json", record_path(stem))
        except OSError as error:
            raise cannot_write(stem, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return whole


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Be the only process that writes in ``folder``, which is made if it is missing.

    Raises:
        LeadlineError: The folder cannot be made, or with ``wait=False`` another process is at it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with contextlib.ExitStack() as stack:
        try:
            if sys.platform == "win32":  # folders cannot be locked there
                import msvcrt  # noqa: PLC0415

                file = stack.enter_context(open(folder / ".leadline.lock", "a+b"))
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            else:
                import fcntl  # noqa: PLC0415

                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LeadlineError(f"another process is writing {folder}; wait for it or choose another folder") from error
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield


def _write_record(stem: Path, record: Mapping[str, Any]) -> None:
    write_bytes(record_path(stem), _text(record).encode())


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, default=str) + "\n"


def _plain(settings: Mapping[str, Any]) -> Any:
    """As they come back from JSON."""
    return json.loads(json.dumps(settings))


def _names(record: Mapping[str, Any], stem: Path) -> set[str]:
    """The files of a record that can be those of ``stem``; a record cannot have others removed."""
    named = record.get("files")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, dict | list) else []
    return {name for name in names if name.startswith(f"{stem.name}.") and Path(name).name == name}


def _size(path: Path) -> int | None:
    """Bytes of a file, entries of a folder, None if there is neither."""
    try:
        return len(os.listdir(path)) if path.is_dir() else path.stat().st_size
    except OSError:
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
