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
from leadline.video.aligner import TemporalAligner

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
_RANGE_PERCENT = (0.5, 99.5)

Infer = Callable[[Report, bytes], Depth]


@dataclass(frozen=True)
class Job:
    """What decides the numbers: a folder belongs to one of these, and is only taken up again by the same."""

    film: str
    model: str
    quality: str
    steps: int
    ensemble: int
    size: int
    seed: int


@dataclass
class Progress:
    """Where a folder stands."""

    next: int = 0
    low: float = 0.0
    high: float = 1.0
    space: str = ""


@dataclass(frozen=True)
class Measured:
    """A film whose frames have been written: how many, and the space that their nearness is affine in."""

    frames: int
    space: Space


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


def measure_film(
    report: Report, job: Job, count: int, source: Source, folder: Path, infer: Infer, orientation: int = 1
) -> Measured:
    """Write the nearness of every frame into ``folder``, turned as the frames are stored.

    Args:
        source: Where the frames come from.
        infer: Depth of one frame, upright, given its encoded bytes.
        orientation: How the frames are stored (EXIF).
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, aligner = _resume(folder, job)
    if done.next >= count:
        return Measured(count, Space(done.space))
    try:
        with source(done.next) as frame:
            for index in range(done.next, count):
                report.check()
                report.progress(f"frame {index + 1} of {count}", index / count)
                depth = infer(report, frame(report, index))
                towards_viewer = depth.values if depth.space.near_is_high else -depth.values
                aligned = aligner.align(towards_viewer.astype(np.float32))
                if index == 0:
                    done.space = depth.space.value
                    done.low, done.high = (float(v) for v in np.percentile(aligned, _RANGE_PERCENT))
                span = max(done.high - done.low, 1e-9)
                nearness = (aligned - np.float32(done.low)) / np.float32(span)
                write_exr(depth_file(folder, index), as_stored(nearness, orientation))
                done.next = index + 1
                if done.next % NOTE_EVERY == 0:
                    _note(folder, job, done, aligner)
    finally:
        _note(folder, job, done, aligner)
    return Measured(count, Space(done.space))


def _resume(folder: Path, job: Job) -> tuple[Progress, TemporalAligner]:
    """Where an earlier run of the same job stopped; the beginning if there was none, or if its notes are damaged."""
    try:
        noted = json.loads((folder / STATE_FILE).read_text())
        if noted["job"] != asdict(job):
            return Progress(), TemporalAligner()
        space = Space(noted["space"]).value
        done = Progress(int(noted["next"]), float(noted["low"]), float(noted["high"]), space)
        memory = np.load(folder / MEMORY_FILE, allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return Progress(), TemporalAligner()
    if memory.ndim != 2 or not all(depth_file(folder, i).is_file() for i in range(done.next)):
        return Progress(), TemporalAligner()
    return done, TemporalAligner(memory.astype(np.float32))


def _note(folder: Path, job: Job, done: Progress, aligner: TemporalAligner) -> None:
    if aligner.memory is None:
        return
    with whole_file(folder / MEMORY_FILE) as unfinished, unfinished.path.open("wb") as file:
        np.save(file, aligner.memory, allow_pickle=False)
    write_bytes(folder / STATE_FILE, json.dumps({"job": asdict(job), **asdict(done)}).encode())
