"""`leadline keys`: who may use a server."""

from __future__ import annotations

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
@out_option(help="Key file for the client.  [default: NAME.key.json]")
@click.option("--public", help="Authorise this public key instead of making a pair.")
@_folder_option
def add(name: str, out: Path | None, public: str | None, ring: Path | None) -> None:
    """Let the client NAME in, with a new key file to give to it."""
    keys = _ring(ring)
    if public is not None:
        keys.authorise(name, public)
        click.echo(f"{name} may come in; the server's public key is {keys.server().public}")
        return
    out = out or Path(f"{name}.key.json")
    keys.add(name, out)
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
    """Lock the client NAME out, from its next connection on."""
    _ring(ring).remove(name)
    click.echo(f"{name} is locked out of new connections; restart the server to end the present ones")


@command.command()
@_folder_option
def server(ring: Path | None) -> None:
    """The server's public key, made if there is none."""
    click.echo(_ring(ring).server().public)


def _ring(folder: Path | None) -> KeyRing:
    from leadline.serving.client.keys import KeyRing, default_folder

    return KeyRing(folder or default_folder())
