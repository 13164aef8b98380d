# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth for every frame of a film, in a thread: aligned over time, written as EXR, taken up again where it stopped.

No `bpy` here. Frames that only Blender can read (movies, formats other than JPEG and PNG) are asked of the main thread.
"""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from leadline.errors import InputError
from leadline.files.whole import whole_file, write_bytes
from leadline.geometry import as_stored
from leadline.video.aligner import TemporalAligner

from .depth import Depth
from .exr import write_exr
from .task import Report

MOVIE_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv"})
#: What the server decodes itself.
ENCODED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
STATE_FILE = "leadline.json"
MEMORY_FILE = "leadline-memory.npy"
#: Frames between two notes of where it is; a crash costs at most so many.
NOTE_EVERY = 10
_RANGE_PERCENT = (0.5, 99.5)
_ASK_POLL_S = 0.1

Infer = Callable[[Report, "np.ndarray | bytes"], Depth]


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


@dataclass(frozen=True)
class FrameWanted:
    """Handed to the main thread: please put the pixels, uint8 (H, W, 3), of a frame into ``answer``."""

    index: int
    answer: queue.SimpleQueue[np.ndarray]


@dataclass
class Progress:
    """Where a folder stands."""

    next: int = 0
    low: float = 0.0
    high: float = 1.0


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


def measure_film(
    report: Report, job: Job, frames: list[Path] | int, folder: Path, infer: Infer, orientation: int = 1
) -> int:
    """Write the nearness of every frame into ``folder``, turned as the frames are stored; returns how many there are.

    Args:
        frames: Image files, or the number of frames that the main thread can give.
        infer: Depth of one frame, upright, given its pixels or its encoded bytes.
        orientation: How the frames are stored (EXIF).
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, aligner = _resume(folder, job)
    count = frames if isinstance(frames, int) else len(frames)
    try:
        for index in range(done.next, count):
            report.check()
            report.progress(f"frame {index + 1} of {count}", index / count)
            depth = infer(report, _frame(report, frames, index))
            towards_viewer = depth.values if depth.space.near_is_high else -depth.values
            aligned = aligner.align(towards_viewer.astype(np.float32))
            if index == 0:
                done.low, done.high = (float(v) for v in np.percentile(aligned, _RANGE_PERCENT))
            span = max(done.high - done.low, 1e-9)
            nearness = (aligned - np.float32(done.low)) / np.float32(span)
            write_exr(depth_file(folder, index), as_stored(nearness, orientation))
            done.next = index + 1
            if done.next % NOTE_EVERY == 0:
                _note(folder, job, done, aligner)
    finally:
        _note(folder, job, done, aligner)
    return count


def _frame(report: Report, frames: list[Path] | int, index: int) -> np.ndarray | bytes:
    if not isinstance(frames, int) and frames[index].suffix.lower() in ENCODED_SUFFIXES:
        return frames[index].read_bytes()
    wanted = FrameWanted(index, queue.SimpleQueue())
    report.partial(wanted)
    while True:
        report.check()
        try:
            return wanted.answer.get(timeout=_ASK_POLL_S)
        except queue.Empty:
            continue


def _resume(folder: Path, job: Job) -> tuple[Progress, TemporalAligner]:
    """Where an earlier run of the same job stopped; the beginning if there was none, or if its notes are damaged."""
    try:
        noted = json.loads((folder / STATE_FILE).read_text())
        if noted["job"] != asdict(job):
            return Progress(), TemporalAligner()
        done = Progress(int(noted["next"]), float(noted["low"]), float(noted["high"]))
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
