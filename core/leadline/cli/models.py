"""`leadline models`: what there is, and which weights are here."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each model.")
def command(as_json: bool) -> None:
    """List the models, where they come from, their licences, and which weights are here."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from leadline.checkpoints.catalog import CATALOG
    from leadline.checkpoints.resolve import available

    here = available()
    if as_json:
        for entry in CATALOG.values():
            click.echo(json.dumps({**asdict(entry), "path": str(here[entry.name]) if entry.name in here else None}))
        return
    table = Table("model", "what", "here", "licence of the weights", "source")
    for entry in CATALOG.values():
        source = "the package" if entry.packaged else entry.url or entry.hub_repo or entry.how_to_get or ""
        size = f"no, {entry.size_mb / 1000:.1f} GB" if entry.size_mb else "no"
        table.add_row(entry.name, entry.summary, "yes" if entry.name in here else size, entry.licence, source)
    for name in sorted(set(here) - set(CATALOG)):
        table.add_row(name, "imported by you", "yes", "", str(here[name]))
    Console().print(table)
