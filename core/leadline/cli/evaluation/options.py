"""Options that several parts of `leadline eval` have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from leadline.cli.names import datasets, present_models

PATH = click.Path(path_type=Path)


def whole_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    try:
        return tuple(int(word) for word in value.split(",")) if value else ()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers like 1,2,4", ctx, param) from error


def options_of(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


model_options = options_of(
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        shell_complete=present_models,
        help="Name or checkpoint; repeat for one table.  [default: every mini model]",
    ),
    click.option("--vae", default=None, help="Folder of the VAE, for checkpoints without one."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
    click.option("--precision", default="auto", show_default=True, help="auto, fp32, fp16, bf16 or int8."),
)
data_options = options_of(
    click.option(
        "-d",
        "--dataset",
        default="pairs",
        show_default=True,
        shell_complete=datasets,
        help="`leadline eval datasets` lists them.",
    ),
    click.option("--root", required=True, type=PATH, help="The data set's folder or tar archive."),
    click.option("--split", type=PATH, default=None, help="List of frames to use, as in Marigold's data_split."),
    click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames."),
)
run_options = options_of(
    click.option(
        "-p",
        "--protocol",
        default="own",
        show_default=True,
        help="own, robust, metric, marigold, depthfm, depthmaster, fiffdepth.",
    ),
    click.option("--seed", default=0, show_default=True, help="Start noise."),
    click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Images at a time."),
    click.option(
        "-o", "--out", type=PATH, default=None, help="Folder for the results.  [default: eval/DATASET-PROTOCOL]"
    ),
    click.option("--fresh", is_flag=True, help="Forget earlier results in --out instead of going on with them."),
    click.option("--quiet", is_flag=True, help="No progress."),
)
cluster_options = options_of(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="ray: share the frames out over a cluster.",
    ),
    click.option("--ray-address", default=None, help="Of a running Ray cluster.  [default: start one here]"),
    click.option(
        "--workers",
        type=click.IntRange(1),
        default=None,
        help="Ray workers.  [default: one per GPU, or per two CPU cores]",
    ),
)
sampling_options = options_of(
    click.option(
        "--steps",
        type=click.IntRange(1),
        default=None,
        help="Euler steps (NFE).  [default: the protocol's, then the model's]",
    ),
    click.option(
        "--ensemble",
        type=click.IntRange(1),
        default=None,
        help="Members; more than 1 gives uncertainty.  [default: the protocol's, then 1]",
    ),
    click.option(
        "--size",
        type=click.IntRange(0),
        default=None,
        help="Processing long edge; 0 is native.  [default: the protocol's, then the model's]",
    ),
)
