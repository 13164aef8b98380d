"""`leadline eval papers`: every table of the three papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.cli.evaluation.models import evaluation_bar, load_model, mini_models
from leadline.cli.evaluation.options import PATH, model_options, sampling_options
from leadline.errors import InputError

if TYPE_CHECKING:
    from leadline.evaluation.runner import Predictor


@click.command("papers")
@model_options
@click.option(
    "--root", required=True, type=PATH, help="Folder with the data sets: Marigold's layout, or a folder each."
)
@click.option(
    "--paper",
    "papers",
    multiple=True,
    type=click.Choice(["depthfm", "depthmaster", "fiffdepth"]),
    help="Only this paper; repeat.  [default: all three]",
)
@click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames of each set.")
@sampling_options
@click.option("--seed", default=0, show_default=True, help="Start noise.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Images at a time.")
@click.option("-o", "--out", type=PATH, default=Path("eval/papers"), show_default=True, help="Folder for the results.")
@click.option("--fresh", is_flag=True, help="Forget earlier results in --out instead of going on with them.")
@click.option("--quiet", is_flag=True, help="No progress.")
def papers_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, root: Path, papers: tuple[str, ...],
    limit: int | None, steps: int | None, ensemble: int | None, size: int | None, seed: int, batch: int, out: Path,
    fresh: bool, quiet: bool,
) -> None:  # fmt: skip
    """Every table of the three papers that the data at hand allow, ours beside theirs.

    Without --model each paper is run with its family's mini model. Rows made by another rule than ours are marked, and what
    could not be run says what it takes and where that comes from. The tables go to papers.md in --out.
    """
    from functools import lru_cache

    from leadline.completion import complete
    from leadline.evaluation.paper_tables import not_run, page, run_papers
    from leadline.evaluation.runner import Sampling
    from leadline.evaluation.sweeps import load_at_noise
    from leadline.files.whole import write_bytes

    @lru_cache(maxsize=1)  # one at a time: full-size weights are gigabytes
    def make(name: str, noise: int | None) -> Predictor:
        return (
            load_model(name, device, precision, vae)
            if noise is None
            else load_at_noise(name, noise, device, precision, vae)
        )

    def names_for(family: str) -> list[str]:
        return list(models) or [name for name in mini_models() if name == f"{family}-mini"]

    sections = []
    sampling = Sampling(steps, ensemble, size, seed, batch)
    with evaluation_bar(0, quiet) as advance:
        for section in run_papers(
            root, names_for, make, complete, sampling, out, papers=papers, limit=limit, fresh=fresh, on_outcome=advance
        ):
            sections.append(section)
            for title, table in section.tables:
                click.echo(f"\n{section.title}{' – ' + title if title else ''}\n{table.text()}")
    for line in not_run(sections):
        click.echo(f"not run: {line}", err=True)
    write_bytes(out / "papers.md", page(sections).encode())
    click.echo(f"tables: {out / 'papers.md'}", err=True)
    if not any(section.tables for section in sections):
        raise InputError(f"no table could be run from {root}; see above for what each takes")
