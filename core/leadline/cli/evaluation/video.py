"""`leadline eval flicker` and `leadline eval video`: depth over time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from leadline.cli.evaluation.models import load_model, model_names
from leadline.cli.evaluation.options import PATH, model_options, sampling_options
from leadline.errors import InputError


@click.command("flicker")
@click.argument("frames", type=PATH)
@model_options
@sampling_options
@click.option("--seed", default=0, show_default=True, help="Start noise, the same for every frame.")
@click.option("--limit", type=click.IntRange(2), default=None, help="Use only the first so many frames.")
@click.option(
    "--still", is_flag=True, help="Camera and scene do not move: compare pixel by pixel, without optical flow."
)
def flicker_command(
    frames: Path, models: tuple[str, ...], vae: str | None, device: str, precision: str, steps: int | None,
    ensemble: int | None, size: int | None, seed: int, limit: int | None, still: bool,
) -> None:  # fmt: skip
    """Temporal flicker over a folder of FRAMES in the order of their names.

    The mean change of the map along the optical flow of the pictures, in percent of the map's range (2nd to 98th percentile
    over the sequence).
    """
    from leadline.evaluation.video import flicker
    from leadline.files.image import IMAGE_SUFFIXES, read_image

    if not frames.is_dir():
        raise InputError(f"{frames} is not a folder of frames")
    paths = sorted(p for p in frames.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]
    images = [read_image(path) for path in paths]
    for name in model_names(models, baselines=False):
        model = load_model(name, device, precision, vae)
        options = {"steps": steps, "ensemble": ensemble or 1, "size": size, "seed": seed}
        maps = [model.predict(image, **options).values for image in images]
        result = flicker(maps, None if still else images)
        change = "–" if result.mean is None else f"{100 * result.mean:.2f} %"
        click.echo(
            f"{model.name}: {change} per frame over {len(maps)} frames ({100 * result.followed:.0f} % of the pixels followed)"
        )


@click.command("video")
@model_options
@sampling_options
@click.option("--detail", type=click.Choice(["off", "edges", "tiles"]), default="off", show_default=True)
@click.option("--seed", default=9001, show_default=True, help="Of the rendered films.")
@click.option("--frames", type=click.IntRange(4), default=16, show_default=True, help="Of each film.")
@click.option("--width", type=click.IntRange(64), default=320, show_default=True, help="Of the films, pixels; 4:3.")
def video_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, steps: int | None, ensemble: int | None,
    size: int | None, detail: str, seed: int, frames: int, width: int,
) -> None:  # fmt: skip
    """Depth over time on rendered films with true depth, pose and flow.

    Each film is measured four times: frame by frame, on one scale and shift, steadied as `leadline predict` does it, and steadied
    with a look ahead of four frames.

    \b
    AbsRel    of single frames, each aligned to its truth
    TE        change of depth along the true flow that is not the true change, the film aligned once
    TE pose   the same through the true poses, over what stands still
    OPW       change along the true flow, weighted by how alike the pictures look, in shares of the map's range
    flicker   change along estimated flow; needs no truth
    lag       frames until the step of an object came through
    """
    from leadline.evaluation.films import score_films

    for name in model_names(models, baselines=False):
        model = load_model(name, device, precision, vae)
        options = {"steps": steps, "ensemble": ensemble or 1, "size": size, "detail": detail}
        click.echo(
            f"{model.name}\n  {'film':<10}{'way':<17}{'AbsRel':>8}{'TE':>8}{'TE pose':>9}{'OPW':>8}{'flicker':>9}{'lag':>5}"
        )
        films = score_films(partial(model.predict, **options), seed, frames, width * 3 // 4, width)
        for one in films:
            numbers = f"{one.absrel:8.4f}{one.temporal:8.4f}{one.pose:9.4f}{one.opw:8.4f}{one.flicker:9.4f}"
            click.echo(f"  {one.film:<10}{one.way:<17}{numbers}{'–' if one.lag is None else one.lag:>5}")
