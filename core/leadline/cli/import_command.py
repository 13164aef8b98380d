"""`leadline import`: an official checkpoint on disk becomes a Leadline model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leadline.depth.spaces import Space
from leadline.models.families import FAMILIES


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="What to call it.")
@click.option("--vae", type=click.Path(path_type=Path), default=None, help="Folder of the VAE, for DepthFM.")
@click.option("--base", type=click.Path(path_type=Path), default=None,
              help="Folder with what PATH lacks: text encoder and tokenizer, scheduler, VAE.")  # fmt: skip
@click.option(
    "--family", default=None, help=f"For folders that do not say which model they are: {', '.join(FAMILIES)}."
)
@click.option("--output", type=click.Choice(["depth", "disparity", "normals"]), default=None,
              help="What it gives, where neither files nor the folder's name say so.")  # fmt: skip
@click.option("--space", type=click.Choice([space.value for space in Space]), default=None,
              help="What the checkpoint's output is affine in, where it is not the usual.")  # fmt: skip
@click.option("--network", default=None, help="Folder of the network, where PATH has several (unet_depth_v2).")
@click.option("--token-count-scaling", is_flag=True, help="DepthFM as the official code runs without xformers.")
@click.option("--half", is_flag=True, help="Keep the weights in 16 bits: half the disk, not exact.")
def command(
    path: Path, name: str, vae: Path | None, base: Path | None, token_count_scaling: bool, half: bool, **said: str | None
) -> None:  # fmt: skip
    """Turn the official checkpoint at PATH (a DepthFM .ckpt, or a diffusers folder of any family) into model NAME."""
    from leadline.checkpoints.importing import import_checkpoint

    settings: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if token_count_scaling:
        settings["token_count_scaling"] = True
    target = import_checkpoint(path, name, vae, half, base, **settings)
    click.echo(f"{name} is ready: leadline predict photo.jpg --model {name}\n{target}", err=True)
