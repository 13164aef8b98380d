"""What the shell offers where a command wants the name of a model or of a data set. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def present_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models whose weights are on this computer; files where none begins like that."""
    from leadline.checkpoints.present import available

    return _beginning(incomplete, available()) or [CompletionItem(incomplete, type="file")]


def models_to_pull(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models that can be downloaded and are not here."""
    from leadline.checkpoints.catalog import CATALOG
    from leadline.checkpoints.present import available

    here = available()
    return _beginning(incomplete, (name for name, one in CATALOG.items() if one.downloadable and name not in here))


def datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Data sets that can be read."""
    from leadline.evaluation.datasets import READERS

    return _beginning(incomplete, READERS)


def _beginning(start: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(start)]
