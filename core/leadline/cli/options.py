"""Options that several commands share, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_MODEL = "fiffdepth-mini"


def model_options(function: F) -> F:
    """--model, --vae, --device, --precision."""
    for option in (
        click.option("--precision", default="auto", show_default=True, help="auto, fp32, fp16 or bf16."),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1.",
        ),
        click.option("--vae", default=None, help="Folder of the VAE, for checkpoints without one."),
        click.option(
            "-m", "--model", default=DEFAULT_MODEL, show_default=True, help="A model's name or a checkpoint's path."
        ),
    ):
        function = option(function)
    return function


def inference_options(function: F) -> F:
    """--steps, --ensemble, --size, --seed."""
    for option in (
        click.option("--seed", default=0, show_default=True, help="Start noise."),
        click.option(
            "--size",
            type=int,
            default=None,
            help="Long edge in pixels for processing; 0 is the image's own.  [default: the model's]",
        ),
        click.option("--ensemble", default=4, show_default=True, help="Members; more than 1 gives an uncertainty."),
        click.option("--steps", type=int, default=None, help="Network evaluations (NFE).  [default: the model's]"),
    ):
        function = option(function)
    return function


compile_option = click.option(
    "--compile",
    "compiled",
    type=click.Choice(["off", "graphs", "kernels"]),
    default="off",
    show_default=True,
    help="Run through torch.compile, with or without CUDA graphs: for many frames of one size. Starting takes minutes.",
)
decoder_option = click.option(
    "--decoder",
    default="full",
    show_default=True,
    metavar="full|small|FILE",
    help="small: many times faster to decode, a little less exact (docs/performance.md).",
)
