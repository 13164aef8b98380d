"""`leadline completion`: the shell completes commands and options."""

from __future__ import annotations

import os
from pathlib import Path

import click

from leadline.errors import InputError

#: Where each shell looks for completions of its user.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/leadline",
    "zsh": "~/.zfunc/_leadline",
    "fish": "~/.config/fish/completions/leadline.fish",
}
_shell = click.argument("shell", type=click.Choice(list(_PLACES)), required=False)


@click.group()
def command() -> None:
    """Let the shell complete commands and options (bash, zsh, fish).

    \b
    leadline completion install         for the shell that you use
    leadline completion show zsh        the script, to place yourself
    """


@command.command()
@_shell
def show(shell: str | None) -> None:
    """Print the script."""
    click.echo(_script(shell or _present()))


@command.command()
@_shell
def install(shell: str | None) -> None:
    """Put the script where the shell finds it; new shells complete."""
    from leadline.files.whole import write_bytes

    shell = shell or _present()
    place = Path(_PLACES[shell]).expanduser()
    write_bytes(place, _script(shell).encode())
    hint = " (zsh needs `fpath+=~/.zfunc; autoload -Uz compinit; compinit` in ~/.zshrc)" if shell == "zsh" else ""
    click.echo(f"{place} is in place; open a new shell{hint}", err=True)


def _present() -> str:
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in _PLACES:
        raise InputError(f"the shell '{shell}' is not known here; name one of {', '.join(_PLACES)}")
    return shell


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from leadline.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    return kind(cli, {}, "leadline", "_LEADLINE_COMPLETE").source()
