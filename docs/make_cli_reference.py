"""Writes docs/cli.md from the commands' own help: python docs/make_cli_reference.py"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from leadline.cli.main import COMMANDS, cli

PAGE = Path(__file__).parent / "cli.md"


def page() -> str:
    """The whole page."""
    texts = ["# Command line\n\nWhat `leadline COMMAND --help` prints; made by `python docs/make_cli_reference.py`.\n"]
    whole = click.Context(cli, info_name="leadline", terminal_width=100, max_content_width=100, **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(whole, name)
        assert command is not None
        texts += _sections(command, name, whole)
    return "\n".join(texts)


def _sections(command: click.Command, name: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    title = context.command_path
    texts = [f"{'##' if title.count(' ') == 1 else '###'} {title}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            assert inner is not None
            texts += _sections(inner, sub, context)
    return texts


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
