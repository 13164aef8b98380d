"""A process that decodes pictures of strangers and owns nothing else: it can be killed at any time.

It reads one JSON line with a :class:`Task` and the encoded bytes on standard input, and answers with one JSON line on
standard output; pixels go to the memory that it shares with the front, or follow the line. Its memory is limited by the
operating system, its time by the front, and it has no network, no keys and no model.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from leadline.errors import InputError
from leadline.serving.protocol.arena import Arena

#: Passes over a progressive JPEG. Encoders write about ten; each further one costs time for a few bytes.
MAX_SCANS = 64
#: Memory for the interpreter and its libraries, and for each pixel of the largest picture: coefficients, picture, copies.
BASE_BYTES, BYTES_PER_PIXEL = 1 << 30, 16


@dataclass(frozen=True)
class Task:
    """One picture: bytes that follow, most pixels, and where in the shared memory the result goes (None: it follows)."""

    nbytes: int
    megapixels: float
    at: int | None
    room: int


def scans(encoded: bytes) -> int:
    """Passes over the picture that a JPEG holds. Inside compressed data the byte after FF is never DA."""
    return encoded.count(b"\xff\xda") if encoded[:2] == b"\xff\xd8" else 0


def decode(encoded: bytes, megapixels: float) -> Any:
    """RGB uint8 (H, W, 3), upright.

    Raises:
        InputError: It is damaged, too large, or built to take long.
    """
    from leadline.files.image import read_image  # noqa: PLC0415  (imported before the first task, after the limits)

    if scans(encoded) > MAX_SCANS:
        raise InputError(f"the JPEG has more than {MAX_SCANS} scans; save it again")
    return read_image(encoded, megapixels)


def serve(source: BinaryIO, sink: BinaryIO, arena: Arena | None) -> None:
    """Say that we are there, and answer tasks until the input ends."""
    sink.write(b"\n")
    sink.flush()
    while line := source.readline():
        task = Task(**json.loads(line))
        encoded = source.read(task.nbytes)
        pixels = None
        try:
            rgb = decode(encoded, task.megapixels)
            if task.at is None or arena is None:
                pixels = rgb.tobytes()
            elif rgb.nbytes > task.room:
                raise InputError("the image is larger than it says")
            else:
                arena.view(task.at, rgb.nbytes)[:] = memoryview(rgb).cast("B")
            answer: dict[str, Any] = {"shape": rgb.shape}
        except InputError as error:
            answer = {"error": str(error)}
        except Exception as error:  # whatever a decoder comes up with
            answer = {"error": f"the image cannot be decoded ({type(error).__name__})"}
        sink.write(json.dumps(answer).encode() + b"\n")
        if pixels is not None:
            sink.write(pixels)
        sink.flush()


def _limit(megapixels: float) -> None:
    import resource  # noqa: PLC0415  (not on Windows)

    most = BASE_BYTES + int(BYTES_PER_PIXEL * megapixels * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _give_way()


def _give_way() -> None:
    """Models and honest clients first."""
    os.nice(5)
    if hasattr(os, "sched_getscheduler"):
        policy = os.sched_getscheduler(0)
        if policy in (os.SCHED_FIFO, os.SCHED_RR):  # inherited; there niceness means nothing
            os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(policy)))


def main() -> None:
    """Entry point of the process: ``decoder megapixels [descriptor size]``."""
    import PIL.JpegImagePlugin  # noqa: PLC0415
    import PIL.PngImagePlugin  # noqa: F401, PLC0415

    import leadline.files.image  # noqa: F401, PLC0415  (before the limits, so that pictures pay for pictures only)

    megapixels, *shared = sys.argv[1:]
    arena = Arena(int(shared[0]), int(shared[1])) if shared else None
    with contextlib.suppress(ImportError, OSError, ValueError):
        _limit(float(megapixels) + (int(shared[1]) / BYTES_PER_PIXEL / 1e6 if shared else 0))
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (what libraries say of strange pictures)
    serve(sys.stdin.buffer, sys.stdout.buffer, arena)


if __name__ == "__main__":
    main()
