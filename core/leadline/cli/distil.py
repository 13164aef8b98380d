"""`leadline distil`: a large model's knowledge in a small one, on your own pictures."""

from __future__ import annotations

from pathlib import Path

import click

from leadline.cli.options import MAX_ENSEMBLE


@click.command()
@click.option(
    "--teacher", required=True, help="A model's name, a checkpoint, or a folder of a transformers depth model."
)
@click.option(
    "--images", "images", required=True, multiple=True, type=click.Path(path_type=Path),
    help="Folder of pictures, tar file, video or ROS 2 bag; may be repeated.",
)  # fmt: skip
@click.option(
    "--student", type=click.Choice(["mini", "small", "nano"]), default="small", show_default=True,
    help="How small: 1/2, 1/3 or less of fiffdepth-mini's processor time.",
)  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The model file, .safetensors.")
@click.option(
    "--ensemble",
    type=click.IntRange(1, MAX_ENSEMBLE),
    help="Of the teacher's maps.  [default: 4; 1 for transformers models]",
)
@click.option("--teacher-steps", type=click.IntRange(1), help="Network evaluations of the teacher.  [default: its own]")
@click.option("--steps", type=click.IntRange(1), default=600, show_default=True, help="Training steps at most.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=3e-4, show_default=True, help="Learning rate.")
@click.option(
    "--patience", type=click.IntRange(0), default=4, show_default=True,
    help="Stop after so many looks at the held-out pictures without improvement; 0: never.",
)  # fmt: skip
@click.option("--topic", default=None, help="Of a bag's images.  [default: the only one]")
@click.option("--licence", default=None, help="Of the teacher, where it does not say.")
@click.option("--device", default="auto", show_default=True, help="Of the teacher.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of this process.")
def command(
    teacher: str, images: tuple[Path, ...], student: str, out: Path, ensemble: int | None, teacher_steps: int | None,
    steps: int, batch_size: int, lr: float, patience: int, topic: str | None, licence: str | None, device: str, seed: int, threads: int | None,
) -> None:  # fmt: skip
    """Teach a small, fast model what TEACHER sees in your pictures, and write it as an ordinary model file.

    The teacher's maps are made once and kept in a folder beside the file; run the command again to go on. The last tenth of
    every source is held out: the training stops when the distance to the teacher there falls no more.
    """
    from leadline.extras import require

    require("accelerate")
    require("tensorboard")
    import torch

    from leadline.training.distillation.distil import DistilSettings, distil

    if threads is not None:
        torch.set_num_threads(threads)
    settings = DistilSettings(
        student=student, ensemble=ensemble, teacher_steps=teacher_steps, steps=steps, batch_size=batch_size, lr=lr,
        patience=patience, topic=topic, licence=licence, device=device, seed=seed,
    )  # fmt: skip
    done = distil(teacher, images, out, settings, click.echo)
    click.echo(f"{done.path}: {done.path.stat().st_size / 1e6:.1f} MB, learnt from {done.pictures} pictures, "
               f"watched on {done.held_out}")  # fmt: skip
