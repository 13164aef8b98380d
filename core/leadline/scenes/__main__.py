"""``python -m leadline.scenes``: render scenes to shards, or a contact sheet to look at."""

from __future__ import annotations

import os
from pathlib import Path

import click
import torch

from leadline.bar import progress_bar
from leadline.errors import LeadlineError

from .layouts import LAYOUTS
from .montage import montage
from .render import render_scenes
from .shards import Job, render_shards


@click.command()
@click.option("--count", type=click.IntRange(1), required=True, help="Number of pictures.")
@click.option("--height", type=click.IntRange(16), default=192, show_default=True)
@click.option("--width", type=click.IntRange(16), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--layout", default=None, help="One layout only; default: the mixture.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for shards; finished ones are skipped.")
@click.option("--shard", type=click.IntRange(1), default=50, show_default=True, help="Pictures per shard.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, one thread each.")
@click.option(
    "--montage", "sheet", type=click.Path(path_type=Path), help="Write a contact sheet here instead of shards."
)
@click.option("--columns", type=click.IntRange(1), default=6, show_default=True, help="Columns of the contact sheet.")
def main(
    count: int,
    height: int,
    width: int,
    seed: int,
    layout: str | None,
    device: str,
    out: Path | None,
    shard: int,
    workers: int,
    sheet: Path | None,
    columns: int,
) -> None:
    """Renders procedural RGB-D scenes."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if (out is None) == (sheet is None):
        raise click.UsageError("give either --out (shards) or --montage (a contact sheet)")
    if layout is not None and layout not in LAYOUTS:
        raise click.UsageError(f"no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    try:
        if sheet is not None:
            montage(render_scenes(seed, count, height, width, layout, device), sheet, columns)
            click.echo(f"wrote {sheet}")
            return
        assert out is not None
        with progress_bar() as bar:
            task = bar.add_task("scenes", total=count)
            for ready in render_shards(Job(count, height, width, seed, out, shard, layout), workers, device):
                bar.update(task, completed=ready)
        click.echo(f"{count} scenes are in {out}")
    except LeadlineError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
