"""`leadline eval completion`: completion beside classical methods, and the stress board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from leadline.cli.evaluation.models import evaluation_bar, load_model, model_names
from leadline.cli.evaluation.options import PATH, cluster_options, data_options, model_options
from leadline.errors import InputError


@click.command("completion")
@model_options
@data_options
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    help="half, 2%, 500, 16-line, 64-line, given; repeat.  [default: 500, 2%, half, 16-line, 64-line]",
)
@click.option(
    "--outliers",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0, 0.9),
    help="Share of the points to spoil first.",
)
@click.option("--seed", default=0, show_default=True, help="Of the patterns and the start noise.")
@click.option("--ensemble", default=4, show_default=True, type=click.IntRange(1), help="Members of the prediction.")
@click.option(
    "--size", type=click.IntRange(0), default=None, help="Processing long edge; 0 is native.  [default: the model's]"
)
@click.option(
    "-o", "--out", type=PATH, default=None, help="Folder for the results.  [default: eval/completion-DATASET]"
)
@click.option(
    "--board",
    is_flag=True,
    help="The stress board: patterns x faults x methods, as CSV and one HTML page; resumes; works with --engine ray.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="--board: none, noise-5%, outliers-30%, late-sweep, fog ...; repeat.  [default: all]",
)
@click.option(
    "--score",
    type=click.Choice(["hidden", "all"]),
    default=None,
    help="Score on measured pixels that were hidden, or on all.  [default: as the data set's published tables; else hidden]",
)
@click.option(
    "--maps",
    type=PATH,
    default=None,
    help="--board: folder of other networks' relative maps, NAME.npy for each frame.",
)
@click.option(
    "--space", default="disparity", show_default=True, help="--board: what the values of --maps are affine in."
)
@cluster_options
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.option("--quiet", is_flag=True, help="No progress.")
def completion_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, dataset: str, root: Path, split: Path | None,
    limit: int | None, patterns: tuple[str, ...], outliers: float, seed: int, ensemble: int, size: int | None,
    out: Path | None, board: bool, faults: tuple[str, ...], score: str | None, maps: Path | None, space: str, markdown: bool,
    quiet: bool, engine: str, ray_address: str | None, workers: int | None,
) -> None:  # fmt: skip
    """Keep some of the measured points, complete, score on the hidden ones or on all.

    Compares `leadline.complete` with nearest neighbour, linear interpolation, morphological filling, and scale and shift
    alone. Each model predicts once per image; times are of the completion only.
    """
    from leadline.completion import complete, complete_with
    from leadline.evaluation.completion import DEFAULT_PATTERNS, completion_tables, evaluate_completion
    from leadline.evaluation.datasets import open_dataset

    data = open_dataset(dataset, root, split, limit)
    options = {"ensemble": ensemble, "size": size, "seed": seed}
    if board:
        names = model_names(models, baselines=False) if models or not maps else []
        sources = _BoardSources(tuple(names), device, precision, vae, options, maps, space)
        shared = (engine == "ray", workers, ray_address)
        _board(
            data, sources, out or Path("eval") / f"board-{dataset}", patterns, faults, score, quiet, markdown, shared
        )
        return
    if engine == "ray":
        raise InputError("--engine ray is for --board")
    if faults or maps:
        raise InputError("--fault and --maps are for --board")
    patterns = patterns or DEFAULT_PATTERNS
    loaded = [load_model(name, device, precision, vae) for name in model_names(models, baselines=False)]
    out = out or Path("eval") / f"completion-{dataset}"
    with evaluation_bar(len(data) * len(patterns) * (3 + 2 * len(loaded)), quiet) as advance:
        done = 0

        def step(result: Any) -> None:
            nonlocal done
            done += 1
            advance("completion", done, 0, result)

        summary = evaluate_completion(
            loaded, complete, data, out, patterns, options, seed, outliers, step, complete_with, score
        )
    for title, table in completion_tables(summary).items():
        click.echo(f"\n**{title}**\n\n{table.markdown()}" if markdown else f"\n{title}\n{table.text()}")
    click.echo(
        "\n* milliseconds of the completion itself on this machine, without the network (with it for models that see the points)"
    )
    for one in summary["skipped"]:
        click.echo(f"left out: {one['name']}: {one['message']}", err=True)
    click.echo(f"numbers: {out / 'completion.json'}", err=True)


@dataclass(frozen=True)
class _BoardSources:
    """What the board's maps come from; every worker of a cluster makes them anew."""

    names: tuple[str, ...]
    device: str
    precision: str
    vae: str | None
    options: dict[str, Any]
    maps: Path | None
    space: str

    def __call__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Name → maps, and what decides them, for the board's settings."""
        from leadline.evaluation import board

        loaded = [load_model(name, self.device, self.precision, self.vae) for name in self.names]
        made = {one.name: board.of_model(one, self.options) for one in loaded}
        about = {**self.options, "models": {one.name: getattr(one, "weights_hash", "") for one in loaded}}
        if self.maps is not None:
            made[self.maps.name] = board.of_maps(self.maps, self.space)
            about |= {"maps": str(self.maps), "space": self.space}
        return made, about

    def methods(self) -> dict[str, Any]:
        """Rows of the board."""
        from leadline.completion import complete
        from leadline.evaluation import board

        return board.methods_of(self()[0], complete)


def _board(
    data: Any,
    sources: _BoardSources,
    out: Path,
    patterns: tuple[str, ...],
    faults: tuple[str, ...],
    score: str | None,
    quiet: bool,
    as_markdown: bool,
    shared: tuple[bool, int | None, str | None],
) -> None:
    from leadline.completion import complete
    from leadline.evaluation import board
    from leadline.evaluation.board_table import board_table
    from leadline.evaluation.completion import Result

    made, about = sources()
    engine = None
    if shared[0]:
        from leadline.evaluation.ray_engine import ray_board

        engine = ray_board(sources.methods, *shared[1:])
    wanted_faults = faults or board.FAULTS
    faulted = patterns or board.FAULTED
    cells = board.cells(patterns or board.PATTERNS, wanted_faults, faulted)
    with evaluation_bar(len(data) * len(cells) * (3 + 2 * len(made)), quiet) as advance:
        count = 0

        def step(row: Any) -> None:
            nonlocal count
            count += 1
            advance(
                "board", count, 0, Result(row["name"], row["pattern"], row["method"], message=row.get("message", ""))
            )

        rows = board.run_board(
            made, complete, data, out, patterns=patterns or board.PATTERNS, faults=wanted_faults, faulted=faulted,
            score=score, seed=sources.options["seed"], about=about, on_row=step, engine=engine,
        )  # fmt: skip
    for name in made:
        table = board_table(board.means(rows), f"{name}: completion")
        click.echo(f"\n{name}: completion\n{table.markdown() if as_markdown else table.text()}")
    click.echo(f"page: {out / 'board.html'}\ntable: {out / 'board.md'}\nnumbers: {out / 'board.csv'}", err=True)
