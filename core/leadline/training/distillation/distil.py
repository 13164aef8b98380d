"""Distil a teacher into a student on your own pictures: maps once, then a training that stops by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.native import save_model
from leadline.errors import InputError
from leadline.inference.devices import cpu_computes_bf16
from leadline.training.base import respec
from leadline.training.distillation.lessons import Lesson, LessonSource, Student, as_batches, keeps_range, split, teach
from leadline.training.distillation.recipe import DistilRecipe
from leadline.training.distillation.students import start_for, student_of
from leadline.training.map_teachers import LeadlineTeacher, MapTeacher, is_transformers_folder, open_teacher
from leadline.training.pictures import Pictures, open_pictures
from leadline.training.trainer import TrainerConfig, train

#: Fewer pictures teach nothing that holds for others.
FEWEST = 8


@dataclass(frozen=True)
class DistilSettings:
    """How a student is taught.

    Attributes:
        student: "mini", "small" or "nano" (:data:`leadline.training.distillation.students.STUDENTS`).
        ensemble: Of the teacher's maps; None: 4, or 1 where the teacher gives always the same map.
        teacher_steps: Network evaluations of the teacher; None: its default.
        steps: Steps of the training at most.
        batch_size, lr: Of the training.
        evaluate_every: Steps between looks at the held-out pictures.
        patience: Looks without improvement after which it stops.
        topic: Of a bag's images; None: the only one.
        licence: Of the teacher; None: what it says itself.
        device: Of the teacher; the student goes where Accelerate puts it.
        seed: Of everything random.
    """

    student: str = "small"
    ensemble: int | None = None
    teacher_steps: int | None = None
    steps: int = 600
    batch_size: int = 8
    lr: float = 3e-4
    evaluate_every: int = 50
    patience: int = 4
    topic: str | None = None
    licence: str | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Distilled:
    """What came out.

    Attributes:
        path: The model file.
        distance_before, distance_after: To the teacher on held-out pictures: mean absolute difference after a fit of scale and
            shift, as a share of each map's range.
        pictures, held_out: How many were learnt and watched.
    """

    path: Path
    distance_before: float
    distance_after: float
    pictures: int
    held_out: int


def distil(
    teacher: str | Path,
    images: Sequence[str | Path],
    out: Path,
    settings: DistilSettings | None = None,
    report: Callable[[str], None] = print,
) -> Distilled:
    """Teach a student, and write it as a model file.

    The teacher's maps and the training lie in ``OUT.distil``; the same call goes on where it stopped.

    Args:
        teacher: A model by name, a checkpoint, or a folder of a ``transformers`` depth model.
        images: Folders, tar files, images, films and bags.
        out: The ``.safetensors`` file.
        settings: How.
        report: Gets lines of progress.

    Raises:
        InputError: There are too few pictures, or nobody says the teacher's licence.
        CheckpointError: There is no such teacher.
    """
    settings = settings or DistilSettings()
    if out.suffix != ".safetensors":
        raise InputError(f"{out} is no .safetensors file; name the model's file so")
    sources = [open_pictures(Path(one), settings.topic) for one in images]
    if sum(map(len, sources)) < FEWEST:
        raise InputError(f"{sum(map(len, sources))} pictures are too few to learn from; give at least {FEWEST}")
    ensemble = settings.ensemble
    if ensemble is None:
        ensemble = 1 if is_transformers_folder(teacher) else 4
    master = open_teacher(teacher, ensemble, settings.teacher_steps, settings.device)
    licence = master.licence or settings.licence
    if not licence:
        raise InputError(f"{master.name} does not say its licence, which its students inherit; give it with --licence")
    bundle = master.estimator.bundle if isinstance(master, LeadlineTeacher) else None
    start = start_for(bundle)
    student = student_of(start, settings.student, name=out.stem, licence=licence)
    work = out.with_name(f"{out.stem}.distil")
    lessons, held_out = _lessons(master, sources, student, start is bundle, work / "maps", report)
    batches = as_batches(held_out)

    def export(folder: Path) -> None:
        save_model(student, out)

    recipe = DistilRecipe(student, start.codec, export)
    before = recipe.eval().distance(batches)
    report(f"distance to the teacher before: {before:.4f}")
    source = f"distilled from {master.name}, started from {start.spec.name}"
    respec(student, source=source, extra={"teacher": master.identity, "settings": asdict(settings)})

    def watched(step: int) -> dict[str, float]:
        device = next(recipe.parameters()).device
        return {"distance": recipe.distance([{n: t.to(device) for n, t in batch.items()} for batch in batches])}

    train(recipe, LessonSource(lessons), training_of(settings), work, report, watched)
    after = recipe.to("cpu").eval().distance(batches)
    report(f"distance to the teacher after: {after:.4f} ({100 * (1 - after / before):.0f} % less)")
    return Distilled(out, before, after, len(lessons), len(held_out))


def training_of(settings: DistilSettings) -> TrainerConfig:
    """The trainer's settings of a distillation."""
    half = torch.cuda.is_available() or cpu_computes_bf16()
    return TrainerConfig(
        steps=settings.steps, batch_size=settings.batch_size, lr=settings.lr, warmup=min(20, settings.steps // 4),
        decay="cosine", final_lr_ratio=0.05, ema=0.98, precision="bf16" if half else "no", seed=settings.seed,
        save_every=settings.evaluate_every, evaluate_every=settings.evaluate_every, patience=settings.patience,
        export="best", watch="distance",
    )  # fmt: skip


def _lessons(
    master: MapTeacher,
    sources: Sequence[Pictures],
    student: ModelBundle,
    starts_with_it: bool,
    folder: Path,
    report: Callable[[str], None],
) -> tuple[list[Lesson], list[Lesson]]:
    """To learn and to watch; of every source the end is watched."""
    space = student.spec.space
    assert space is not None  # start_for() takes models of depth only
    sees = Student(student.spec.default_size, student.spec.pad_multiple, space)
    learnt: list[Lesson] = []
    watched: list[Lesson] = []

    def told(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            report(f"{master.name}'s maps: {done}/{total}")

    for pictures in sources:
        lessons = teach(master, pictures, sees, folder, keeps_range(master, starts_with_it), told)
        own, held_out = split(lessons)
        learnt += own
        watched += held_out
    return learnt, watched
