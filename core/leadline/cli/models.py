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

    from leadline.checkpoints.capabilities import all_capabilities

    models = all_capabilities().values()
    if as_json:
        for model in models:
            click.echo(json.dumps(asdict(model)))
        return
    console = Console(soft_wrap=True, highlight=False)
    for model in models:
        size = f", {model.download_mb / 1000:.1f} GB" if model.download_mb else ""
        state = "[green]here[/]" if model.present else f"[yellow]not here{size}[/]"
        gives = model.output if model.space is None else model.space.replace("_", " ")
        steps = (
            "any number of steps" if model.max_steps is None else "1 step" if model.max_steps == 1 else "several steps"
        )
        console.print(f"[bold]{model.name}[/] ({state}): {model.title}")
        console.print(f"    gives {gives}, {steps}; source: {model.source}; licence: {model.licence}", style="dim")
