"""`leadline eval`: score models on data sets, compare, sweep, and measure completion and flicker."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from leadline.cli.evaluation.completion import completion_command
from leadline.cli.evaluation.models import BASELINES, evaluation_bar, label_for, load_model, model_names
from leadline.cli.evaluation.options import (
    PATH,
    cluster_options,
    model_options,
    options_of,
    run_options,
    sampling_options,
)
from leadline.cli.evaluation.papers import papers_command
from leadline.cli.evaluation.sweep import sweep_command
from leadline.cli.evaluation.video import flicker_command, video_command
from leadline.cli.names import datasets
from leadline.cli.options import decoder_option, speed_option
from leadline.extras import require


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@options_of(
    click.option("-d", "--dataset", default=None, shell_complete=datasets, help="`leadline eval datasets` lists them."),
    click.option("--root", type=PATH, default=None, help="The data set's folder or tar archive."),
    click.option("--split", type=PATH, default=None, help="List of frames to use, as in Marigold's data_split."),
    click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames."),
)
@run_options
@sampling_options
@decoder_option
@speed_option
@click.option(
    "--baselines/--no-baselines",
    default=True,
    show_default=True,
    help="Add rows that any model must beat: a constant, and 'depth grows with the row'.",
)
@cluster_options
@click.option("--report/--no-report", default=True, show_default=True, help="Write report.html and PNG pictures.")
@click.option("--papers", is_flag=True, help="Add the papers' rows to the printed table.")
@click.option(
    "--valid-mask-crop",
    type=click.Choice(["none", "garg", "eigen", "nyu"]),
    default=None,
    help="Score only inside this crop.  [default: the data set's, as in Marigold's configuration]",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Score models on a data set, by each paper's protocol.

    \b
    leadline eval --dataset pairs --root FOLDER
    leadline eval -m depthfm -m depthmaster --dataset nyu --root nyu_labeled_extracted.tar --protocol depthfm

    Writes images.csv per model, summary.json, report.html and PNG pictures. A stopped run goes on where it was; files
    that cannot be read are listed and do not stop it. See also the subcommands.
    """
    if ctx.invoked_subcommand is not None:
        return
    if given["dataset"] is None or given["root"] is None:
        raise click.UsageError("--dataset and --root are needed (or a subcommand: see leadline eval --help)", ctx)
    _evaluate(**given)


def _evaluate(
    *, models: tuple[str, ...], vae: str | None, device: str, precision: str, decoder: str, speed: str, dataset: str, root: Path,
    split: Path | None, limit: int | None, protocol: str, seed: int, batch: int, out: Path | None, fresh: bool, quiet: bool, steps: int | None,
    ensemble: int | None, size: int | None, baselines: bool, engine: str, ray_address: str | None, workers: int | None,
    report: bool, papers: bool, markdown: bool, valid_mask_crop: str | None,
) -> None:  # fmt: skip
    from leadline.evaluation.datasets import open_dataset
    from leadline.evaluation.protocols import get_protocol
    from leadline.evaluation.runner import Entry, Sampling, run
    from leadline.evaluation.tables import summary_table

    if report:
        require("matplotlib", "--no-report leaves the report out")
    rules = get_protocol(protocol)
    data = open_dataset(dataset, root, split, limit, valid_mask_crop)
    sampling = Sampling(steps, ensemble, size, seed, batch)
    out = out or Path("eval") / f"{dataset}-{protocol}"
    entries: list[Entry] = []
    for name in model_names(models, baselines and rules.aligned):
        make = partial(load_model, name, device, precision, vae, decoder, speed)
        model = make()
        shared = None
        if engine == "ray" and name not in BASELINES:
            from leadline.evaluation.ray_engine import ray_engine

            shared = ray_engine(make, rules, sampling.resolve(model, rules, data), batch, workers, ray_address)
        entries.append(Entry(label_for(name, model, [e.label for e in entries]), model, shared))
    with evaluation_bar(len(entries) * len(data), quiet) as advance:
        summary = run(entries, data, rules, sampling, out, fresh, advance)
    table = summary_table([summary], papers)
    click.echo(table.markdown() if markdown else table.text())
    others = max(model.get("rows_of_other_frames", 0) for model in summary["models"].values())
    if others:
        click.echo(f"leadline: the table is of {len(data)} frames; {others} earlier rows stay in images.csv", err=True)
    if report:
        from leadline.evaluation.report import write_report

        click.echo(f"report: {write_report(out, summary)}", err=True)
    click.echo(f"summary: {out / 'summary.json'}", err=True)


@command.command("datasets")
def datasets_command() -> None:
    """List the data sets and the layout each is expected in."""
    from leadline.evaluation.datasets import READERS

    for reader in READERS.values():
        rules = reader.rules
        limits = (
            f"{rules.min_depth_m:g} to {rules.max_depth_m:g} m, crop {rules.crop}, long edge {rules.size or 'native'}"
        )
        click.echo(f"{reader.name:18}{reader.title}\n{'':18}{reader.layout}\n{'':18}{limits}")


@command.command("protocols")
def protocols_command() -> None:
    """List the protocols and where each comes from."""
    from leadline.evaluation.protocols import PROTOCOLS

    for protocol in PROTOCOLS.values():
        fit = (
            "no fit" if not protocol.aligned else (protocol.space.value if protocol.space else "the model's own space")
        )
        click.echo(f"{protocol.name:14}fit in {fit}\n{'':14}{protocol.source}")


@command.command("metrics")
def metrics_command() -> None:
    """List the metrics: formula, unit and source."""
    from leadline.evaluation.metrics import METRICS

    for name, metric in METRICS.items():
        click.echo(f"{name:18}{metric.label:12}{metric.unit:6}{metric.formula}  [{metric.source}]")


@command.command("compare")
@click.argument("summaries", nargs=-1, required=True, type=PATH)
@click.option("--papers/--no-papers", default=True, show_default=True, help="The papers' rows for the same data sets.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def compare_command(summaries: tuple[Path, ...], papers: bool, markdown: bool) -> None:
    """Several runs in one table, with the papers' rows beside.

    SUMMARIES are summary.json files, or the folders they lie in.
    """
    from leadline.evaluation.results import read_summary
    from leadline.evaluation.tables import summary_table

    read = [read_summary(path) for path in summaries]
    names = [str(path.parent if path.name == "summary.json" else path) for path in summaries] if len(read) > 1 else []
    table = summary_table(read, papers, names)
    click.echo(table.markdown() if markdown else table.text())


for _part in (papers_command, sweep_command, completion_command, flicker_command, video_command):
    command.add_command(_part)
