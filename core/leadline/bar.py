"""The progress bar of every program, on standard error: what is done, out of how much, the time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def progress_bar(*more: ProgressColumn, quiet: bool = False, counted: ProgressColumn | None = None) -> Progress:
    """A bar that leaves nothing behind.

    Args:
        more: Columns before the time left.
        quiet: Show none. There is none, either, where standard error is no terminal.
        counted: In place of "3/10".
    """
    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        counted or MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
