"""Decodes pictures of strangers in processes that may be killed, beside the workers, so that a bad one costs its sender.

Each decoder has a thread here, there from the beginning, that writes a picture to its process and waits for the pixels. A process that takes longer
than its picture may is killed, and a new one started for the next picture.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from leadline.serving.processes import effort_s
from leadline.serving.protocol.arena import Arena
from leadline.serving.server.crew import Crew
from leadline.serving.server.tuned import DECODERS
from leadline.serving.worker.decoder import Task


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
        gave_up: It took too long.
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
    gave_up: bool = False
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
        self._watched: set[_Process] = set()
        self._begun, self._closed = threading.Event(), False
        self._crew = Crew(self.count + 1, "leadline-decoder")
        for _ in range(self.count):
            self._crew.do(self._work)
        self._crew.do(self._watch)

    @property
    def free(self) -> bool:
        """Whether one has nothing to do."""
        return len(self.busy) < self.count

    def start(self, picture: Picture) -> None:
        """Decode a picture."""
        self.busy.add(picture)
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
        for _ in range(self.count):
            self._tasks.put(None)
        self._closed = True
        self._begun.set()
        self._crew.close()

    def _watch(self) -> None:
        """End processes whose picture takes too long."""
        while not self._closed:
            self._begun.wait()
            self._begun.clear()
            time.sleep(DECODERS.look_every_s)
            for process in list(self._watched):
                process.look()
            if any(process.busy for process in list(self._watched)):
                self._begun.set()

    def _work(self) -> None:
        process: _Process | None = None
        while (picture := self._tasks.get()) is not None:
            started = time.monotonic()
            process = self._decode(picture, process)
            if process is None and not picture.gave_up:  # its decoder died: of it, or of something else
                process = self._decode(picture, None)
            picture.seconds = time.monotonic() - started
            self._done.put(picture)
            self.wake()
        if process is not None:
            self._end(process)

    def _decode(self, picture: Picture, process: _Process | None) -> _Process | None:
        """One attempt; the process to go on with."""
        if process is not None and not process.alive():
            self._end(process)
            process = None
        picture.error = ""
        try:
            process = process or self._new()
            process.decode(picture, self.arena)
        except Exception as error:
            picture.gave_up = isinstance(error, _GaveUp)
            if picture.gave_up:
                picture.error = str(error)
            elif process is None:
                picture.error = f"pictures cannot be decoded now ({error}); try again later"
            else:
                picture.error = "the image cannot be decoded; save it again"
            if process is not None:
                self._end(process)
                self.restarts += 1
            return None
        return process

    def _new(self) -> _Process:
        process = _Process(self.megapixels, self.arena, self._begun)
        self._watched.add(process)
        try:
            process.greet()
        except BaseException:
            self._end(process)
            raise
        return process

    def _end(self, process: _Process) -> None:
        self._watched.discard(process)
        process.end()


class _GaveUp(Exception):
    """The picture takes too long."""


class _Process:
    """One decoder, which :meth:`look` ends when its picture takes too long."""

    def __init__(self, megapixels: float, arena: Arena | None, begun: threading.Event) -> None:
        shared = [] if arena is None else [str(arena.descriptor), str(arena.size)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leadline.serving.worker.decoder", str(megapixels), *shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[] if arena is None else [arena.descriptor],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.busy, self._gave_up = False, False
        self._begun = begun

    def greet(self) -> None:
        """Wait until it is ready."""
        self._begin(DECODERS.start_s)
        self._line()
        self.busy = False

    def decode(self, picture: Picture, arena: Arena | None) -> None:
        at, room = picture.room or (None, 0)
        task = Task(len(picture.encoded), picture.megapixels + 1e-9, at if arena is not None else None, room)
        self._begin(DECODERS.time_s + DECODERS.time_per_megapixel_s * picture.megapixels)
        try:
            self._in.write(json.dumps(asdict(task)).encode() + b"\n")
            self._in.write(picture.encoded)
            self._in.flush()
            answer = json.loads(self._line())
            if "error" not in answer and task.at is None:
                picture.pixels = self._out.read(math.prod(answer["shape"]))
        except Exception as error:
            if self._gave_up:
                text = f"the image takes longer than {self._limit_s:.1f} s to decode; save it again"
                raise _GaveUp(text) from error
            raise
        finally:
            self.busy = False
        if "error" in answer:
            picture.error = answer["error"]
        else:
            height, width, channels = answer["shape"]
            picture.shape = height, width, channels

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self.busy = False
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._in.close()
        self._out.close()

    def _begin(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._started, self._worked = time.monotonic(), effort_s(self._process.pid)
        self.busy = True
        self._begun.set()

    def _line(self) -> bytes:
        line = self._out.readline()
        if not line:
            raise EOFError("the decoder ended")
        return line

    def look(self) -> None:
        """End it if it is late; whoever waits for its answer finds the end."""
        if self.busy and self._is_late():
            self._gave_up = True
            self._process.kill()

    def _is_late(self) -> bool:
        passed, worked = time.monotonic() - self._started, effort_s(self._process.pid)
        used = passed if worked is None or self._worked is None else worked - self._worked
        return used > self._limit_s or passed > DECODERS.patience * self._limit_s
