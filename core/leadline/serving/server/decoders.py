"""Decodes pictures of strangers in processes that may be killed, beside the workers, so that a bad one costs its sender.

Each decoder has a thread here that writes a picture to its process and waits for the pixels. A process that takes longer
than its picture may is killed, and a new one started for the next picture.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from leadline.serving.processes import effort_s
from leadline.serving.protocol.arena import Arena
from leadline.serving.worker.decoder import Task

#: Time that a picture may take: for any, and more for each megapixel. Photographs take a twentieth of it.
TIME_S, TIME_PER_MEGAPIXEL_S = 1.0, 0.1
#: On a busy machine a process gets less of it than passes; after this many times as long the picture is given up anyway.
PATIENCE = 5.0
#: Time for the process itself to start.
START_S = 10.0
_CHUNK = 1 << 16


@dataclass(eq=False)
class Picture:
    """What is to be decoded, and what became of it.

    Attributes:
        owner: The caller's own.
        encoded: Its bytes.
        megapixels: That it says it has.
        room: Place in the shared memory for the pixels; None: they come in ``pixels``.
        nbytes: Of the pixels.
        shape: (H, W, 3), when it was decoded.
        error: Why it was not.
        seconds: What it took.
    """

    owner: Any
    encoded: Any
    megapixels: float
    room: tuple[int, int] | None
    nbytes: int
    shape: tuple[int, int, int] | None = None
    pixels: Any = None
    error: str = ""
    seconds: float = 0.0


@dataclass
class Decoders:
    """A few decoders.

    Args:
        count: How many.
        megapixels: Most that any picture has.
        arena: Shared with them.
        wake: Called, from another thread, when there is something in :meth:`finished`.
    """

    count: int
    megapixels: float
    arena: Arena | None
    wake: Callable[[], None]
    busy: set[Picture] = field(default_factory=set)
    restarts: int = 0

    def __post_init__(self) -> None:
        self._tasks: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def free(self) -> bool:
        """Whether one has nothing to do."""
        return len(self.busy) < self.count

    def start(self, picture: Picture) -> None:
        """Decode a picture, or fail it at once if no thread can be had."""
        self.busy.add(picture)
        if len(self._threads) < min(self.count, len(self.busy)):
            try:
                thread = threading.Thread(target=self._work, name="leadline-decoder", daemon=True)
                thread.start()
                self._threads.append(thread)
            except RuntimeError as error:  # the machine is out of threads or memory
                if not self._threads:
                    picture.error = f"pictures cannot be decoded now ({error}); try again later"
                    self._done.put(picture)
                    self.wake()
                    return
        self._tasks.put(picture)

    def finished(self) -> list[Picture]:
        """Pictures with an outcome since the last call."""
        done = []
        while True:
            try:
                done.append(self._done.get_nowait())
            except queue.Empty:
                self.busy.difference_update(done)
                return done

    def close(self) -> None:
        """End them."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(2.0)

    def _work(self) -> None:
        process: _Process | None = None
        while (picture := self._tasks.get()) is not None:
            started = time.monotonic()
            try:
                process = process or _Process(self.megapixels, self.arena)
                process.decode(picture, self.arena)
            except Exception as error:
                if isinstance(error, _GaveUp):
                    picture.error = str(error)
                elif process is None:
                    picture.error = f"pictures cannot be decoded now ({error}); try again later"
                else:
                    picture.error = "the image cannot be decoded; save it again"
                if process is not None:
                    process.end()
                    self.restarts += 1
                process = None
            picture.seconds = time.monotonic() - started
            self._done.put(picture)
            self.wake()
        if process is not None:
            process.end()


class _GaveUp(Exception):
    """The picture takes too long."""


class _Process:
    """One decoder."""

    def __init__(self, megapixels: float, arena: Arena | None) -> None:
        shared = [] if arena is None else [str(arena.descriptor), str(arena.size)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leadline.serving.worker.decoder", str(megapixels), *shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pass_fds=[] if arena is None else [arena.descriptor],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._in.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._begin(START_S)
        try:
            self._line()  # it is ready
        except BaseException:
            self.end()
            raise

    def decode(self, picture: Picture, arena: Arena | None) -> None:
        at, room = picture.room or (None, 0)
        task = Task(len(picture.encoded), picture.megapixels + 1e-9, at if arena is not None else None, room)
        self._begin(TIME_S + TIME_PER_MEGAPIXEL_S * picture.megapixels)
        self._write(json.dumps(asdict(task)).encode() + b"\n")
        self._write(picture.encoded)
        answer = json.loads(self._line())
        if "error" in answer:
            picture.error = answer["error"]
            return
        height, width, channels = answer["shape"]
        picture.shape = height, width, channels
        if task.at is None:
            picture.pixels = self._read(height * width * channels)

    def _begin(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._started, self._worked = time.monotonic(), effort_s(self._process.pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
        self._selector.close()

    def _write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._in, selectors.EVENT_WRITE)
            view = view[self._in.write(view[: 16 * _CHUNK]) or 0 :]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            self._wait(self._out, selectors.EVENT_READ)
            byte = self._out.read(1)
            if not byte:
                raise EOFError("the decoder ended")
            line += byte
        return line

    def _read(self, nbytes: int) -> bytearray:
        data = bytearray(nbytes)
        view = memoryview(data)
        while view:
            self._wait(self._out, selectors.EVENT_READ)
            got = os.readv(self._out.fileno(), [view])
            if not got:
                raise EOFError("the decoder ended")
            view = view[got:]
        return data

    def _wait(self, file: Any, event: int) -> None:
        self._selector.register(file, event)
        try:
            while not self._selector.select(0.05):
                passed = time.monotonic() - self._started
                worked = effort_s(self._process.pid)
                used = passed if worked is None or self._worked is None else worked - self._worked
                if used > self._limit_s or passed > PATIENCE * self._limit_s:
                    raise _GaveUp(f"the image takes longer than {self._limit_s:.1f} s to decode; save it again")
        finally:
            self._selector.unregister(file)
