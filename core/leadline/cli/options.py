"""Options that several commands share, spelled once, with limits that say their reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from leadline.cli.names import present_models

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_MODEL = "fiffdepth-mini"
EXIT_BAD_INPUT = 2

MAX_STEPS = 1000
MAX_ENSEMBLE = 64
MIN_SIZE_PX, MAX_SIZE_PX = 32, 8192
MAX_SEED = 2**63 - 1


def _checked(value: int | None, low: int, high: int, reason: str, also: int | None = None) -> int | None:
    if value is not None and value != also and not low <= value <= high:
        raise click.BadParameter(f"{value} is not from {low} to {high}: {reason}")
    return value


def _steps(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    return _checked(value, 1, MAX_STEPS, "no model gains from more network evaluations")


def _ensemble(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    return _checked(value, 1, MAX_ENSEMBLE, "the mean of more maps differs by less than their rounding")


def _size(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    reason = "smaller shows the network nothing, larger takes tens of gigabytes (0 is the image's own size)"
    return _checked(value, MIN_SIZE_PX, MAX_SIZE_PX, reason, also=0)


def _seed(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    return _checked(value, 0, MAX_SEED, "a seed is a whole number of 63 bits")


def _device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|(cpu|mps|(cuda|xpu)(:\d+)?)(,(cuda|xpu)(:\d+)?)*", value):
        raise click.BadParameter(f"device '{value}' is unknown; use auto, cpu, cuda, cuda:1, mps or cuda:0,cuda:1")
    return value


def out_option(default: str | None = None, help: str = "Folder for the results.", **more: Any) -> Callable[[F], F]:  # noqa: A002
    """-o/--out; --output as people knew it stays understood."""
    if default is not None:
        more |= {"default": default, "show_default": True}
    return click.option(
        "-o",
        "--out",
        "out",
        cls=_Renamed,
        type=click.Path(path_type=Path),
        help=help,
        **more,
    )


class _Renamed(click.Option):
    """An option that is also understood by an older name, which --help does not show."""

    def __init__(self, names: Any, *, older: str = "--output", **settings: Any) -> None:
        super().__init__(names, **settings)
        self._older = older

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown = self.opts
        self.opts = [*shown, self._older]
        super().add_to_parser(parser, ctx)
        self.opts = shown


def model_options(function: F) -> F:
    """--model, --vae, --device, --precision."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "fp16", "bf16", "int8"]),
            default="auto",
            show_default=True,
            help="Of the network's numbers.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            callback=_device,
            help="auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1.",
        ),
        click.option("--vae", default=None, help="Folder of the VAE, for checkpoints without one."),
        click.option(
            "-m",
            "--model",
            default=DEFAULT_MODEL,
            show_default=True,
            shell_complete=present_models,
            help="A model's name or a checkpoint's path.",
        ),
    ):
        function = option(function)
    return function


def inference_options(function: F) -> F:
    """--quality, --steps, --ensemble, --size, --seed; :func:`sampled` makes options of the network of them."""
    for option in (
        click.option("--seed", type=int, default=0, show_default=True, callback=_seed, help="Start noise."),
        click.option(
            "--size",
            type=int,
            default=None,
            callback=_size,
            help="Long edge in pixels for processing; 0 is the image's own.  [default: the model's]",
        ),
        click.option(
            "--ensemble",
            type=int,
            default=None,
            callback=_ensemble,
            help="Maps that are averaged; more than 1 gives an uncertainty.  [default: by --quality, 1]",
        ),
        click.option(
            "--steps",
            type=int,
            default=None,
            callback=_steps,
            help="Network evaluations (NFE).  [default: by --quality, the model's]",
        ),
        click.option(
            "--quality",
            type=click.Choice(["fast", "balanced", "fine"]),
            default=None,
            help="fast: one evaluation; balanced: the model's default; fine: more of them and an ensemble of 4.  [default: balanced]",
        ),
    ):
        function = option(function)
    return function


def sampled(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """``options`` with steps and ensemble in the place of quality, as the model understands it.

    Raises:
        LeadlineError: The model is unknown, or does not take them.
    """
    from leadline.checkpoints.quality import sampling

    quality = options.pop("quality")
    steps, ensemble = sampling(model, quality, options["steps"], options["ensemble"])
    return {**options, "steps": steps, "ensemble": ensemble}


compile_option = click.option(
    "--compile",
    "compiled",
    type=click.Choice(["off", "graphs", "kernels"]),
    default="off",
    show_default=True,
    help="Run through torch.compile, with or without CUDA graphs: for many frames of one size. Starting takes minutes.",
)
speed_option = click.option(
    "--speed",
    type=click.Choice(["full", "realtime"]),
    default="full",
    show_default=True,
    help="realtime: small encoder and decoder, and the precision and backend that are fastest here; maps differ a little.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "openvino"]),
    default="auto",
    show_default=True,
    help="openvino: for many pictures of one size on a CPU (the extra openvino). auto: torch, but with --speed realtime the faster one.",
)
decoder_option = click.option(
    "--decoder",
    default="full",
    show_default=True,
    metavar="full|small|FILE",
    help="small: many times faster to decode, a little less exact (docs/performance.md).",
)
