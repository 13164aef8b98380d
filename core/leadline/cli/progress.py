"""What `leadline predict` tells while it works: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import click


def progress(total: int, quiet: bool) -> Lines:
    """For ``total`` files: a bar if standard error is a terminal and ``quiet`` is False."""
    return Bar(total) if sys.stderr.isatty() and not quiet else Lines(quiet)


class Lines:
    """Lines only: for scripts, logs and ``--quiet``.

    Args:
        quiet: Leave warnings out, too.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def begin(self, name: str) -> None:
        """A file's turn."""

    def frames(self, done: int, total: int) -> None:
        """Frames of the video in hand."""

    def end(self) -> None:
        """The file is done."""

    def warn(self, line: str) -> None:
        """What is not as it should be."""
        if not self._quiet:
            self.say(f"leadline: {line}")

    def say(self, line: str) -> None:
        """One line."""
        click.echo(line, err=True)

    def show(self, name: str, *pictures: Any) -> None:
        """Pictures side by side in the terminal, below their name."""
        from rich.console import Console

        from leadline.cli.terminal import show

        console = Console(file=sys.stderr, highlight=False)
        console.print(name, markup=False)
        show(console, *pictures)

    def stop(self) -> None:
        """Nothing more comes."""


class Bar(Lines):
    """A bar with ETA, frames per second for videos."""

    def __init__(self, total: int) -> None:
        from rich.progress import TextColumn

        from leadline.bar import progress_bar

        super().__init__()
        self._bar = progress_bar(TextColumn("{task.fields[speed]}"))
        self._console = self._bar.console
        self._task = self._bar.add_task("predicting", total=total, speed="")
        self._film: Any = None

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def begin(self, name: str) -> None:
        self._bar.update(self._task, description=name)

    def frames(self, done: int, total: int) -> None:
        if self._film is None:
            self._film = self._bar.add_task("frames", total=total or None, speed=""), done, time.monotonic()
        task, first, began = self._film
        seconds = time.monotonic() - began
        speed = f"{(done - first) / seconds:.2f} fps" if done > first and seconds > 0 else ""
        self._bar.update(task, completed=done, speed=speed)

    def end(self) -> None:
        if self._film is not None:
            self._bar.remove_task(self._film[0])
            self._film = None
        self._bar.update(self._task, advance=1)

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def show(self, name: str, *pictures: Any) -> None:
        self.stop()  # the bar out of their way
        super().show(name, *pictures)
        self._bar.start()

    def stop(self) -> None:
        self._bar.stop()
