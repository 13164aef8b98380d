"""`leadline normals`: surface normals from photographs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from leadline.cli.options import EXIT_BAD_INPUT, inference_options, model_options, out_option, sampled
from leadline.errors import InputError, LeadlineError


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@out_option(default="out")
@model_options
@inference_options
@click.option("--bits", type=click.Choice(["8", "16"]), default="16", show_default=True, help="Of the normal map.")
@click.option("--directx", is_flag=True, help="Green is down, as DirectX takes it; otherwise up (Blender, OpenGL).")
@click.option("--exr", is_flag=True, help="Also write the vectors as float32 OpenEXR (R, G, B = x, y, z).")
@click.option("--npy", is_flag=True, help="Also write the vectors, and their uncertainty in radians, as .npy.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per input on standard output.")
def command(
    inputs: tuple[str, ...], out: Path, model: str, vae: str | None, device: str, precision: str,
    bits: str, directx: bool, exr: bool, npy: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Surface normals from photographs, folders and globs, by a model that gives normals (`leadline models`).

    For each INPUT the output folder gets NAME.normals.png, a tangent-space normal map (x right, y up, z towards the viewer),
    and NAME.normals.json.
    """
    from leadline.checkpoints.capabilities import all_capabilities
    from leadline.cli.loading import load
    from leadline.files.image import read_image
    from leadline.files.inputs import plan
    from leadline.files.output import write_exr, write_json, write_npy, write_png

    jobs = [job for job in plan(inputs, out).jobs if not job.is_video]
    if not jobs:
        raise InputError("normals takes photographs; name at least one")
    estimator = load(model, device=device, precision=precision, vae=vae)
    if estimator.spec.output != "normals":
        names = [name for name, known in all_capabilities().items() if known.output == "normals"]
        raise InputError(f"{estimator.name} gives depth; models for normals are {', '.join(names)} (-m NAME)")
    options = sampled(model, options)
    failures = 0
    for job in jobs:
        try:
            prediction = estimator.normals(read_image(job.source), **options)
        except LeadlineError as error:
            failures += 1
            click.echo(f"leadline: {error}", err=True)
            continue
        write_png(Path(f"{job.stem}.normals.png"), prediction.as_picture(int(bits), y_up=not directx))
        if exr:
            write_exr(Path(f"{job.stem}.normals.exr"), prediction.values)
        if npy:
            write_npy(Path(f"{job.stem}.normals.npy"), prediction.values)
            if prediction.uncertainty is not None:
                write_npy(Path(f"{job.stem}.normals.uncertainty.npy"), prediction.uncertainty)
        record = {
            "input": str(job.source),
            "output": f"{job.stem}.normals.png",
            "axes": prediction.axes,
            "green_up": not directx,
            "value": f"2 * code / {(1 << int(bits)) - 1} - 1",
            "model": prediction.model,
            "meta": dict(prediction.meta),
        }
        write_json(Path(f"{job.stem}.normals.json"), record)
        click.echo(json.dumps(record, default=str) if as_json else record["output"], err=not as_json)
    if failures:
        sys.exit(EXIT_BAD_INPUT)
