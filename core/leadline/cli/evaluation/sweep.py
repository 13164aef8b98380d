"""`leadline eval sweep`: combinations of steps, ensemble, noise level and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.cli.evaluation.models import evaluation_bar, load_model, model_names
from leadline.cli.evaluation.options import data_options, model_options, run_options, whole_numbers
from leadline.errors import InputError
from leadline.extras import require

if TYPE_CHECKING:
    from leadline.evaluation.runner import Predictor


@click.command("sweep")
@model_options
@data_options
@run_options
@click.option("--steps", callback=whole_numbers, metavar="N,N,…", help="Euler steps to try, such as 1,2,4,10.")
@click.option("--ensemble", callback=whole_numbers, metavar="N,N,…", help="Ensemble sizes to try.")
@click.option(
    "--noise",
    callback=whole_numbers,
    metavar="N,N,…",
    help="DepthFM noise levels to try, in thousandths, such as 100,200,400.",
)
@click.option("--size", callback=whole_numbers, metavar="N,N,…", help="Processing long edges to try.")
@click.option("--metric", default="delta1", show_default=True, help="What the plot shows.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def sweep_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, dataset: str, root: Path, split: Path | None,
    limit: int | None, protocol: str, seed: int, batch: int, out: Path | None, fresh: bool, quiet: bool,
    steps: tuple[int, ...], ensemble: tuple[int, ...], noise: tuple[int, ...], size: tuple[int, ...], metric: str, markdown: bool,
) -> None:  # fmt: skip
    """Every combination of steps, ensemble, noise level and size, as a table and a plot.

    DepthFM's Table 3: --steps 1,2,4,10 --ensemble 10. Its Figure 16: --steps 1,2,4 --ensemble 1,2,4,10. Its Table 9:
    --noise 100,200,400,600,800.
    """
    from leadline.evaluation.datasets import open_dataset
    from leadline.evaluation.metrics import METRICS
    from leadline.evaluation.protocols import get_protocol
    from leadline.evaluation.runner import Sampling
    from leadline.evaluation.sweeps import Grid, draw_sweep, load_at_noise, sweep, sweep_table

    require("matplotlib")
    if metric not in METRICS:
        raise InputError(f"there is no metric {metric!r}; `leadline eval metrics` lists them")
    grid = Grid(steps, ensemble, noise, size)
    names = model_names(models, baselines=False)
    data = open_dataset(dataset, root, split, limit)
    out = out or Path("eval") / f"sweep-{dataset}-{protocol}"

    def make(name: str, level: int | None) -> Predictor:
        if level is None:
            return load_model(name, device, precision, vae)
        return load_at_noise(name, level, device, precision, vae)

    with evaluation_bar(len(names) * len(list(grid.points())) * len(data), quiet) as advance:
        report = sweep(
            names, make, data, get_protocol(protocol), Sampling(seed=seed, batch=batch), grid, out, fresh, advance
        )
    table = sweep_table(report)
    click.echo(table.markdown() if markdown else table.text())
    click.echo(f"plot: {draw_sweep(report, out / 'sweep.png', metric)}\nnumbers: {out / 'sweep.json'}", err=True)
