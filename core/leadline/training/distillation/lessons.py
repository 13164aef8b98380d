"""A teacher's maps of pictures, made once and kept on disk, and the batches made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.depth.spaces import Space
from leadline.files.whole import whole_file
from leadline.inference.framing import frame_padded
from leadline.training.augment import recolour
from leadline.training.conversion import in_space
from leadline.training.map_teachers import LeadlineTeacher, MapTeacher
from leadline.training.pictures import Pictures
from leadline.training.sources import Batch, image_to_tensor, numpy_generator
from leadline.types import FloatMap, RgbImage


@dataclass(frozen=True)
class Lesson:
    """A picture as the student sees it, and the teacher's map of it.

    Attributes:
        rgb: uint8 (h, w, 3), padded to the student's multiple.
        target: float16 (h, w), in [-1, 1] in the student's space.
        content: (h', w') of the part that is picture.
    """

    rgb: RgbImage
    target: npt.NDArray[np.float16]
    content: tuple[int, int]


@dataclass(frozen=True)
class Student:
    """How a student sees pictures and what its numbers mean."""

    size: int
    multiple: int
    space: Space


def teach(
    teacher: MapTeacher,
    pictures: Pictures,
    student: Student,
    folder: Path,
    same_range: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Lesson]:
    """The teacher's lessons on every picture; those in ``folder`` are not made again.

    Args:
        teacher: Sees every picture at its own size.
        pictures: What it is asked about.
        student: Who learns.
        folder: Takes a file for each picture, named by its content and by the teacher.
        same_range: Keep the teacher's own numbers, because the student starts with its layers; else each map's 2 and 98 %
            quantiles are its ends.
        report: Called with (done, in all) after every picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lessons = []
    for index in range(len(pictures)):
        rgb = pictures[index]
        digest = hashlib.sha256(f"{teacher.identity} {student} {same_range} {rgb.shape}".encode())
        digest.update(np.ascontiguousarray(rgb).tobytes())
        path = folder / f"{digest.hexdigest()[:32]}.npz"
        if not path.exists():
            values = teacher.maps(rgb)
            lesson = _lesson(rgb, values, teacher, student, same_range)
            with whole_file(path) as unfinished, open(unfinished.path, "wb") as file:
                np.savez(file, rgb=lesson.rgb, target=lesson.target, content=np.array(lesson.content))
        with np.load(path, allow_pickle=False) as stored:
            content = (int(stored["content"][0]), int(stored["content"][1]))
            lessons.append(Lesson(stored["rgb"], stored["target"], content))
        report(index + 1, len(pictures))
    return lessons


def _lesson(rgb: RgbImage, values: FloatMap, teacher: MapTeacher, student: Student, same_range: bool) -> Lesson:
    framed = frame_padded(rgb, student.size, student.multiple)
    assert framed.content is not None
    height, width = framed.content
    how = cv2.INTER_AREA if values.shape[0] > height else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(values, (width, height), interpolation=how), dtype=np.float32)
    target = 2.0 * small - 1.0 if same_range else in_space(small, teacher.space, teacher.shift_known, student.space)
    bottom, right = (side - own for side, own in zip(framed.pixels.shape[-2:], (height, width), strict=True))
    padded = np.pad(target, ((0, bottom), (0, right)), mode="edge")
    return Lesson(framed.pixels.permute(1, 2, 0).numpy().copy(), padded.astype(np.float16), (height, width))


def keeps_range(teacher: MapTeacher, starts_with_it: bool) -> bool:
    """Whether the student can take over the teacher's own numbers."""
    return starts_with_it and isinstance(teacher, LeadlineTeacher) and teacher.keeps_its_range


def split(lessons: Sequence[Lesson], share: float = 0.1) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons to learn, and the last ones to watch: neighbours in a film show the same, so the end is held out in one piece."""
    held_out = max(1, round(share * len(lessons)))
    return list(lessons[:-held_out]), list(lessons[-held_out:])


class LessonSource:
    """Batches of lessons of one size, mirrored and coloured on the fly.

    Args:
        lessons: What to draw from.
        colour: Strength of the colour changes (:func:`leadline.training.augment.recolour`).
    """

    def __init__(self, lessons: Sequence[Lesson], colour: float = 0.5) -> None:
        self._groups: dict[tuple[int, ...], list[Lesson]] = {}
        for lesson in lessons:
            self._groups.setdefault(lesson.rgb.shape, []).append(lesson)
        self._colour = colour

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        rng = numpy_generator(generator)
        groups = list(self._groups.values())
        counts = np.array([len(group) for group in groups], dtype=np.float64)
        group = groups[int(rng.choice(len(groups), p=counts / counts.sum()))]
        return collate([self._changed(group[int(i)], rng) for i in rng.integers(len(group), size=size)])

    def _changed(self, lesson: Lesson, rng: np.random.Generator) -> tuple[RgbImage, Tensor, Tensor]:
        rgb = recolour(lesson.rgb, self._colour, rng) if self._colour > 0 and rng.random() < 0.7 else lesson.rgb
        _, target, inside = _plain(lesson)
        if rng.random() < 0.5:
            return np.ascontiguousarray(rgb[:, ::-1]), target.flip(-1), inside.flip(-1)
        return rgb, target, inside


def _plain(lesson: Lesson) -> tuple[RgbImage, Tensor, Tensor]:
    inside = torch.zeros(1, *lesson.target.shape, dtype=torch.bool)
    inside[:, : lesson.content[0], : lesson.content[1]] = True
    return lesson.rgb, torch.from_numpy(lesson.target.astype(np.float32))[None], inside


def collate(samples: Sequence[tuple[RgbImage, Tensor, Tensor]]) -> Batch:
    """``rgb`` (N, 3, H, W) in [-1, 1], ``target`` (N, 1, H, W) and ``inside`` (N, 1, H, W)."""
    return {
        "rgb": torch.stack([image_to_tensor(rgb) for rgb, _, _ in samples]),
        "target": torch.stack([target for _, target, _ in samples]),
        "inside": torch.stack([inside for _, _, inside in samples]),
    }


def as_batches(lessons: Sequence[Lesson], size: int = 8) -> list[Batch]:
    """All lessons as they are, in batches of one picture size."""
    groups: dict[tuple[int, ...], list[Lesson]] = {}
    for lesson in lessons:
        groups.setdefault(lesson.rgb.shape, []).append(lesson)
    parts = [group[first : first + size] for group in groups.values() for first in range(0, len(group), size)]
    return [collate([_plain(lesson) for lesson in part]) for part in parts]
