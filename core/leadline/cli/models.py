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

    from leadline.checkpoints.catalog import CATALOG
    from leadline.checkpoints.resolve import available

    here = available()
    if as_json:
        for entry in CATALOG.values():
            click.echo(json.dumps({**asdict(entry), "path": str(here[entry.name]) if entry.name in here else None}))
        return
    console = Console(soft_wrap=True, highlight=False)
    for entry in CATALOG.values():
        source = "the package" if entry.packaged else entry.url or entry.hub_repo or entry.how_to_get
        size = f", {entry.size_mb / 1000:.1f} GB" if entry.size_mb else ""
        state = "[green]here[/]" if entry.name in here else f"[yellow]not here{size}[/]"
        console.print(f"[bold]{entry.name}[/] ({state}): {entry.summary}")
        console.print(f"    from {source}; licence: {entry.licence}", style="dim")
    for name in sorted(set(here) - set(CATALOG)):
        console.print(f"[bold]{name}[/] ([green]here[/]): imported by you")
        console.print(f"    {here[name]}", style="dim")
