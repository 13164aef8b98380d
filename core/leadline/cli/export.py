"""`leadline export`: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from leadline.cli.names import present_models
from leadline.cli.options import out_option
from leadline.errors import InputError


@click.command()
@click.argument("model", shell_complete=present_models)
@out_option(help="The file.  [default: MODEL.onnx]")
@click.option("--size", default=None, help="HEIGHTxWIDTH in pixels.  [default: the model's size, 3:4]")
@click.option("--steps", type=int, default=None, help="Network evaluations, unrolled.  [default: the model's]")
@click.option("--dynamic-batch", is_flag=True, help="Take any number of images at once.")
@click.option("--vae", default=None, help="Folder of the VAE, for checkpoints without one.")
def command(
    model: str, out: Path | None, size: str | None, steps: int | None, dynamic_batch: bool, vae: str | None
) -> None:
    """Write MODEL as one ONNX graph, image to map, and check it in onnxruntime against PyTorch.

    The file says in its metadata what its numbers mean, for which size it is, and from which weights.
    """
    from leadline.checkpoints.resolve import resolve
    from leadline.inference.onnx_file import TOLERANCE, export_onnx

    bundle = resolve(model, vae=vae)
    spec = bundle.spec
    height, width = _sides(size) if size else _default_sides(spec.default_size, spec.pad_multiple)
    path = out or Path(f"{Path(model).stem}.onnx")
    done = export_onnx(bundle, path, height, width, steps, dynamic_batch)
    for file in done.files:
        click.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    if len(done.files) > 1:
        click.echo("The weights are in the second file: keep both together.")
    click.echo(f"{height}x{width}, {spec.space.value if spec.space else spec.output}; onnxruntime differs from PyTorch by {done.difference:.1e} of the map's "
               f"range (allowed: {TOLERANCE:.0e})")  # fmt: skip


def _sides(size: str) -> tuple[int, int]:
    """(height, width) of "480x640"."""
    parts = size.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"size '{size}' is not HEIGHTxWIDTH, such as 480x640")
    return int(parts[0]), int(parts[1])


def _default_sides(long_edge: int, multiple: int) -> tuple[int, int]:
    """A 3:4 frame of the model's own size."""
    width = -(-long_edge // multiple) * multiple
    return -(-(width * 3 // 4) // multiple) * multiple, width
