"""`leadline train`: train a model by one of the papers' recipes."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import click

RECIPE_NAMES = (
    "autoencoder", "depthmaster-stage1", "depthmaster-stage2", "depthfm", "fiffdepth", "completion", "small-decoder", "small-encoder",
    "latents", "check", "mini", "ablation-start", "ablation-trajectory", "ablation-fourier",
)  # fmt: skip


@click.command()
@click.argument("recipe", type=click.Choice(RECIPE_NAMES))
@click.argument("config_file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="YAML file; `mini` and ablations need none."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for checkpoint, logs and weights; check: a contact sheet (.jpg).",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the configuration, e.g. trainer.steps=200."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of this process.")
@click.option("--quick", is_flag=True, help="mini, ablations: a few steps of everything, to see that it works.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="mini, ablations: processes of each stage; check: those that will train.",
)
@click.option(
    "--quantiles", type=click.IntRange(1), help="check: work out each set's depth_range_m from so many of its pictures."
)
def command(
    recipe: str,
    config_file: Path | None,
    config_path: Path | None,
    out: Path | None,
    changes: tuple[str, ...],
    threads: int | None,
    quick: bool,
    processes: int,
    quantiles: int | None,
) -> None:
    """Train by RECIPE. Run again with the same --out to go on where it stopped.

    Several GPUs or machines: `accelerate launch -m leadline.cli.main train ...`. `mini` retrains all shipped weights;
    `latents` only encodes a data set for the other recipes; `ablation-...` repeats a paper's ablation in the folder of
    a `mini` run. `check CONFIG` trains nothing: it counts pictures, says the global batch, memory and time, and names what differs
    from the paper.
    """
    from leadline.errors import InputError
    from leadline.extras import require

    config_path = config_path or config_file
    if config_path is None and recipe != "mini" and not recipe.startswith("ablation-"):
        raise InputError(f"--config is missing; start from one of the files in {_shipped()}")
    if recipe == "check":
        assert config_path is not None
        from leadline.training.check import check
        from leadline.training.config import load_config

        for line in check(load_config(config_path, changes), out, processes, quantiles or 0).lines:
            click.echo(line)
        return
    if out is None:
        raise InputError("--out is missing; name a folder for checkpoint, logs and weights")
    require("accelerate")
    require("tensorboard")
    import torch

    from leadline.training.config import load_config

    if threads is not None:
        torch.set_num_threads(threads)
    if recipe == "mini":
        from leadline.training.mini import train_mini

        train_mini(out, quick=quick, processes=processes, report=click.echo)
        return
    if recipe.startswith("ablation-"):
        from leadline.training.ablations import run_ablation

        run_ablation(recipe, out, quick=quick, processes=processes, report=click.echo)
        return
    assert config_path is not None
    config = load_config(config_path, changes)
    if config.setdefault("recipe", recipe) != recipe:
        raise InputError(f"{config_path} is a configuration for '{config['recipe']}', not for '{recipe}'")
    from leadline.training.run import run

    run(config, out, report=click.echo)


def _shipped() -> Path:
    """Where the recipes' configurations lie: in a clone, else where the installation put them."""
    clone = Path(__file__).parents[3] / "config" / "train"
    return clone if clone.is_dir() else Path(sysconfig.get_path("data")) / "share" / "leadline" / "config" / "train"
