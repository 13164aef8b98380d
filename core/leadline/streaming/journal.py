"""A file of results that survives a crash at any byte: what is complete in it is used again."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

_MAGIC = b"LEADLINE-JOURNAL-1\n"
_RECORD = struct.Struct("<qHI")  # time stamp, topic number, payload length
_COMMIT = 0xFFFF  # in place of a topic number: everything before belongs to a finished step


class Entry(NamedTuple):
    """One recorded message."""

    stamp_ns: int
    topic: int
    payload: bytes


class Journal:
    """Appends steps of entries; a step that was not committed does not count.

    Args:
        path: The file. If it is a journal of the same ``identity`` it is continued, else begun again.
        identity: What the results depend on.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        header = _MAGIC + json.dumps(identity, sort_keys=True).encode() + b"\n"
        self.steps = 0
        good_bytes = len(header)
        if path.exists() and path.read_bytes()[: len(header)] == header:
            for _, ends in _steps(path, len(header)):
                self.steps += 1
                good_bytes = ends
        else:
            path.write_bytes(header)
        self._start = len(header)
        self._file = path.open("r+b")
        self._file.truncate(good_bytes)
        self._file.seek(good_bytes)

    def commit(self, entries: Sequence[Entry]) -> None:
        """Add one step."""
        for entry in entries:
            self._file.write(_RECORD.pack(entry.stamp_ns, entry.topic, len(entry.payload)))
            self._file.write(entry.payload)
        self._file.write(_RECORD.pack(0, _COMMIT, 0))
        self._file.flush()
        self.steps += 1

    def entries(self) -> Iterator[Entry]:
        """Everything committed, in the order of commits."""
        self._file.flush()
        for step, _ in _steps(self.path, self._start):
            yield from step

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _steps(path: Path, start: int) -> Iterator[tuple[list[Entry], int]]:
    """(entries, offset behind them) of each committed step."""
    with path.open("rb") as file:
        file.seek(start)
        step: list[Entry] = []
        while len(head := file.read(_RECORD.size)) == _RECORD.size:
            stamp_ns, topic, length = _RECORD.unpack(head)
            if topic == _COMMIT:
                yield step, file.tell()
                step = []
                continue
            payload = file.read(length)
            if len(payload) < length:
                return
            step.append(Entry(stamp_ns, topic, payload))
