"""`leadline pull`: download official weights."""

from __future__ import annotations

import click

from leadline.cli.names import models_to_pull


@click.command()
@click.argument("name", shell_complete=models_to_pull)
@click.option("--half", is_flag=True, help="Keep the weights in 16 bits: half the disk, not exact.")
@click.option("--keep-original", is_flag=True, help="Keep the downloaded files beside the imported model.")
def command(name: str, half: bool, keep_original: bool) -> None:
    """Download the official weights of NAME, check them, and import them.

    An interrupted download goes on where it stopped. HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected;
    LEADLINE_HOME names another folder.
    """
    from rich.progress import DownloadColumn

    from leadline.bar import progress_bar
    from leadline.checkpoints import catalog, download
    from leadline.checkpoints.importing import import_entry
    from leadline.checkpoints.resolve import available

    entry = catalog.entry(name)
    if name in available():
        click.echo(f"{name} is here already: {available()[name]}", err=True)
        return
    click.echo(f"licence of {name}: {entry.licence}", err=True)
    if entry.non_commercial:
        click.echo(f"{name} is for non-commercial use only", err=True)
    with progress_bar(counted=None if entry.url is None else DownloadColumn()) as bar:
        task = bar.add_task(f"fetching {name}", total=None)
        fetched = download.fetch(entry, lambda done, total: bar.update(task, completed=done, total=total))
    click.echo(f"importing {name} ...", err=True)
    path = import_entry(entry, fetched, half=half)
    if not keep_original:
        download.discard(entry)
    use = "normals" if entry.output == "normals" else "predict"
    click.echo(f"{name} is ready: leadline {use} photo.jpg --model {name}\n{path}", err=True)
