"""`leadline import`: an official checkpoint on disk becomes a Leadline model."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="What to call it.")
@click.option("--vae", type=click.Path(path_type=Path), default=None, help="Folder of the VAE, for DepthFM.")
@click.option(
    "--family",
    type=click.Choice(["depthmaster", "fiffdepth"]),
    default=None,
    help="For folders that do not say which model they are.",
)
@click.option("--space", type=click.Choice(["log_depth", "sqrt_disparity", "disparity", "depth"]), default=None,
              help="What the checkpoint's output is affine in, where it is not the usual.")  # fmt: skip
@click.option("--token-count-scaling", is_flag=True, help="DepthFM as the official code runs without xformers.")
@click.option("--half", is_flag=True, help="Keep the weights in 16 bits: half the disk, not exact.")
def command(
    path: Path,
    name: str,
    vae: Path | None,
    family: str | None,
    space: str | None,
    token_count_scaling: bool,
    half: bool,
) -> None:
    """Turn the official checkpoint at PATH (a DepthFM .ckpt, a DepthMaster or FiffDepth folder) into model NAME."""
    from leadline.checkpoints.importing import import_checkpoint

    settings = {"space": space} if space else {}
    if token_count_scaling:
        settings["token_count_scaling"] = True  # type: ignore[assignment]
    target = import_checkpoint(path, name, vae=vae, half=half, family=family, **settings)
    click.echo(f"{name} is ready: leadline predict photo.jpg --model {name}\n{target}", err=True)
