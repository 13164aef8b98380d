"""`leadline keys`: who may use a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.cli.options import out_option

if TYPE_CHECKING:
    from leadline.serving.client.keys import KeyRing


def _folder_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--ring", type=click.Path(path_type=Path), help="The server's key folder.  [default: ~/.config/leadline/keys]"
    )(function)


@click.group()
def command() -> None:
    """Create, list and remove the keys of a server's clients.

    A server started with `leadline serve --keys` encrypts everything and lets in only the clients listed here.
    """


@command.command()
@click.argument("name")
@out_option(help="Key file for the client; - prints it.  [default: NAME.key.json]")
@click.option("--public", help="Authorise this public key instead of making a pair.")
@click.option("--share", type=click.FloatRange(0.01), default=1.0, help="Of the workers' time, relative to others.")
@click.option("--queue", type=click.IntRange(1), help="Requests it may have in hand.  [default: the server's]")
@click.option("--rate", type=click.FloatRange(0.1), help="Messages per second.  [default: the server's]")
@click.option(
    "--work", type=click.FloatRange(0.01), help="Largest request, see `serve --work`.  [default: the server's]"
)
@_folder_option
def add(
    name: str, out: Path | None, public: str | None, share: float, queue: int | None, rate: float | None,
    work: float | None, ring: Path | None,
) -> None:  # fmt: skip
    """Let the client NAME in, with a new key file to give to it."""
    from leadline.serving.protocol.messages import Quota

    keys = _ring(ring)
    quota = Quota(share, queue, rate, work)
    if public is not None:
        keys.authorise(name, public, quota=quota)
        click.echo(f"{name} may come in; the server's public key is {keys.server().public}")
        return
    if out == Path("-"):
        click.echo(json.dumps(asdict(keys.add(name, None, quota)), indent=2))
        return
    out = out or Path(f"{name}.key.json")
    keys.add(name, out, quota)
    click.echo(f"{name} may come in; give it {out}, and keep that file from everybody else")


@command.command("list")
@_folder_option
def list_keys(ring: Path | None) -> None:
    """Clients that may come in, with their public keys."""
    clients = _ring(ring).clients()
    for public, name in sorted(clients.items(), key=lambda item: item[1]):
        click.echo(f"{name}\t{public}")
    if not clients:
        click.echo("nobody yet; `leadline keys add NAME` lets somebody in", err=True)


@command.command()
@click.argument("name")
@_folder_option
def remove(name: str, ring: Path | None) -> None:
    """Lock the client NAME out. A running server ends its connections within seconds."""
    _ring(ring).remove(name)
    click.echo(f"{name} is locked out")


@command.command()
@_folder_option
def server(ring: Path | None) -> None:
    """The server's public key, made if there is none."""
    click.echo(_ring(ring).server().public)


def _ring(folder: Path | None) -> KeyRing:
    from leadline.serving.client.keys import KeyRing, default_folder

    return KeyRing(folder or default_folder())
