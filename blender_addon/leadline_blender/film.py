# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth for every frame of a film, in a thread: aligned over time, written as EXR, taken up again where it stopped.

No `bpy` here. Frames that only Blender can read (movies, formats other than JPEG and PNG) come from a second Blender.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files.png import chunk
from leadline.files.whole import whole_file, write_bytes
from leadline.geometry import as_stored
from leadline.serving.client.steady import SteadyProcess
from leadline.video.aligner import TemporalAligner, scale_and_shift

from .depth import Depth
from .exr import write_exr
from .movies import decoding
from .task import Report

MOVIE_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv"})
#: What the server decodes itself.
ENCODED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
STATE_FILE = "leadline.json"
MEMORY_FILE = "leadline-memory.npy"
#: Frames between two notes of where it is; a crash costs at most so many.
NOTE_EVERY = 10
#: Who holds films still: a Python with OpenCV on this computer, or the server that is asked for the depth.
HERE, SERVER = "here", "server"
_RANGE_PERCENT = (0.5, 99.5)

Infer = Callable[[Report, bytes], Depth]


@dataclass(frozen=True)
class Job:
    """What decides the numbers: a folder belongs to one of these, and is only taken up again by the same.

    ``steady``: who holds each point still, :data:`HERE` or :data:`SERVER`; empty: nobody, there is only one scale and shift.
    """

    film: str
    model: str
    quality: str
    steps: int
    ensemble: int
    size: int
    seed: int
    steady: str = ""


@dataclass
class Progress:
    """Where a folder stands."""

    next: int = 0
    low: float = 0.0
    high: float = 1.0
    space: str = ""


@dataclass(frozen=True)
class Measured:
    """A film whose frames have been written: how many, the space that their nearness is affine in, and who held them still."""

    frames: int
    space: Space
    steady: str


def image_sequence(path: Path) -> list[Path]:
    """The numbered images from ``path`` on: same name and suffix, one number after the other."""
    match = re.fullmatch(r"(.*?)(\d+)", path.stem)
    if match is None:
        raise InputError(f"{path.name} has no frame number in its name; choose the first image of a numbered sequence")
    stem, digits = match.groups()
    frames, number = [], int(digits)
    while (frame := path.with_name(f"{stem}{number:0{len(digits)}d}{path.suffix}")).is_file():
        frames.append(frame)
        number += 1
    return frames


def is_movie(path: Path) -> bool:
    return path.suffix.lower() in MOVIE_SUFFIXES


def depth_file(folder: Path, index: int) -> Path:
    """Frames count from 1, as Blender's image sequences do."""
    return folder / f"nearness_{index + 1:05d}.exr"


#: Opened with the first index that is wanted; gives the content of a JPEG or PNG file for each index from there on.
Source = Callable[[int], AbstractContextManager[Callable[[Report, int], bytes]]]


@contextmanager
def files_as_they_are(frames: list[Path], first: int) -> Iterator[Callable[[Report, int], bytes]]:
    """Images that the server decodes itself."""
    yield lambda report, index: frames[index].read_bytes()


@contextmanager
def decoded(
    blender: list[str], frames: list[Path], count: int, orientation: int, first: int
) -> Iterator[Callable[[Report, int], bytes]]:
    """A movie, or images that only Blender reads; ``orientation`` is how these are stored."""
    with decoding(blender, frames, is_movie(frames[0]), first, count) as decoder:
        yield lambda report, index: turned_png(decoder.frame(report, index), orientation)


def turned_png(png: bytes, orientation: int) -> bytes:
    """A PNG file with an EXIF orientation, in a chunk of its own behind the first."""
    if orientation == 1:
        return png
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    head = 8 + 25  # signature and IHDR
    return png[:head] + chunk(b"eXIf", exif) + png[head:]


class _OneScale:
    """Frames on one scale and shift: what NumPy alone can do."""

    def __init__(self, memory: np.ndarray | None) -> None:
        self._aligner = TemporalAligner(memory)

    @property
    def memory(self) -> np.ndarray | None:
        return self._aligner.memory

    def step(self, values: np.ndarray, picture: bytes) -> np.ndarray:
        return self._aligner.align(values)

    def close(self) -> None:
        """Nothing to end."""


class _HeldStill:
    """Frames held still, in a Python that has OpenCV; ``memory`` is the last one, and ``picture`` its photograph."""

    def __init__(self, python: Path, memory: np.ndarray | None, picture: bytes | None) -> None:
        self._helper, self.memory = SteadyProcess(python, isolated=True), memory
        if memory is not None and picture is not None:
            self._helper.step(memory, picture)

    def step(self, values: np.ndarray, picture: bytes) -> np.ndarray:
        self.memory = self._helper.step(values, picture)
        return self.memory

    def close(self) -> None:
        self._helper.close()


class _HeldByServer:
    """Frames that come held still. A server asked anew chooses a scale anew: ``again``, what it now says of the last frame, tells it."""

    def __init__(self, memory: np.ndarray | None, again: np.ndarray | None) -> None:
        self._onto = None if memory is None or again is None else scale_and_shift(again, memory, steadiness=1.0)
        self.memory = memory

    def step(self, values: np.ndarray, picture: bytes) -> np.ndarray:
        self.memory = values if self._onto is None else self._onto.apply(values)
        return self.memory

    def close(self) -> None:
        """Nothing to end."""


def measure_film(
    report: Report,
    job: Job,
    count: int,
    source: Source,
    folder: Path,
    infer: Infer,
    orientation: int = 1,
    python: Callable[[], Path | None] = lambda: None,
) -> Measured:
    """Write the nearness of every frame into ``folder``, turned as the frames are stored.

    Args:
        source: Where the frames come from.
        infer: Depth of one frame, upright, given its encoded bytes; of one after the other, held still if the server is to do that.
        orientation: How the frames are stored (EXIF).
        python: The interpreter that holds frames still if the job wants it; asked once a first frame is there.

    Raises:
        InputError: The job wants frames held still, and there is no interpreter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, memory = _resume(folder, job)
    if done.next >= count:
        return Measured(count, Space(done.space), job.steady)
    holder: _OneScale | _HeldStill | _HeldByServer | None = None if job.steady else _OneScale(memory)
    try:
        with source(max(done.next - 1, 0) if job.steady else done.next) as frame:
            before = frame(report, done.next - 1) if job.steady and done.next else None
            if job.steady == SERVER:
                holder = _HeldByServer(memory, None if before is None else _towards_viewer(infer(report, before)))
            for index in range(done.next, count):
                report.check()
                report.progress(f"frame {index + 1} of {count}", index / count)
                picture = frame(report, index)
                depth = infer(report, picture)
                if holder is None:
                    holder = _HeldStill(_required(python()), memory, before)
                aligned = holder.step(_towards_viewer(depth), picture)
                if index == 0:
                    done.space = depth.space.value
                    done.low, done.high = (float(v) for v in np.percentile(aligned, _RANGE_PERCENT))
                span = max(done.high - done.low, 1e-9)
                nearness = (aligned - np.float32(done.low)) / np.float32(span)
                write_exr(depth_file(folder, index), as_stored(nearness, orientation))
                done.next = index + 1
                if done.next % NOTE_EVERY == 0:
                    _note(folder, job, done, holder.memory)
    finally:
        if holder is not None:
            _note(folder, job, done, holder.memory)
            holder.close()
    return Measured(count, Space(done.space), job.steady)


def _towards_viewer(depth: Depth) -> np.ndarray:
    """float32 (H, W) that grows towards the viewer."""
    return np.asarray(depth.values if depth.space.near_is_high else -depth.values, np.float32)


def _required(python: Path | None) -> Path:
    if python is None:
        raise InputError("no Python with Leadline was found on this computer to hold the film still")
    return python


def _resume(folder: Path, job: Job) -> tuple[Progress, np.ndarray | None]:
    """Where an earlier run of the same job stopped, and its memory; the beginning if there was none, or if its notes are damaged."""
    try:
        noted = json.loads((folder / STATE_FILE).read_text())
        if noted["job"] != asdict(job):
            return Progress(), None
        space = Space(noted["space"]).value
        done = Progress(int(noted["next"]), float(noted["low"]), float(noted["high"]), space)
        memory = np.load(folder / MEMORY_FILE, allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return Progress(), None
    if memory.ndim != 2 or not all(depth_file(folder, i).is_file() for i in range(done.next)):
        return Progress(), None
    return done, memory.astype(np.float32)


def _note(folder: Path, job: Job, done: Progress, memory: np.ndarray | None) -> None:
    if memory is None:
        return
    with whole_file(folder / MEMORY_FILE) as unfinished, unfinished.path.open("wb") as file:
        np.save(file, memory, allow_pickle=False)
    write_bytes(folder / STATE_FILE, json.dumps({"job": asdict(job), **asdict(done)}).encode())
