# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that can be chosen: what the server has, and what could be downloaded for a server of ours. No `bpy` here."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadline.errors import LeadlineError
from leadline.serving.client.client import ModelInfo, ServerInfo
from leadline.serving.client.local import python_command, python_environment

from .task import Report

_RUN = "from leadline.cli.main import main; main()"
_LIST_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Choice:
    """A model for the menu.

    Attributes:
        name: As the server knows it.
        title: One line for people.
        present: Whether it can be used now.
        download_mb: Size of the download, if it is absent and known.
        licence: Of the weights.
    """

    name: str
    title: str
    present: bool = True
    download_mb: int | None = None
    licence: str = ""

    @property
    def line(self) -> str:
        """For the menu: what it is, or what it costs to have it."""
        if self.present:
            return f"{self.name}: {self.title}" if self.title else self.name
        size = f"{self.download_mb / 1000:.1f} GB, " if self.download_mb else ""
        return f"{self.name} ({size}licence: {self.licence})"


def of_server(info: ServerInfo) -> list[Choice]:
    """What a server has that makes depth of an image alone."""
    return [Choice(m.name, m.title or "", licence=m.licence or "") for m in info.models if gives_depth(m)]


def gives_depth(model: ModelInfo) -> bool:
    return model.output in (None, "depth") and not model.needs_sparse_depth


def to_download(python: Path, have: list[Choice]) -> list[Choice]:
    """What could be downloaded for a server run by that interpreter; empty if it does not say."""
    known = {choice.name for choice in have}
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        try:
            asked = subprocess.run(
                [*python_command(python, True), _RUN, "models", "--json"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIST_TIMEOUT_S, check=True,
                cwd=folder, env=python_environment(True),
            )  # fmt: skip
            rows: list[dict[str, Any]] = [json.loads(line) for line in asked.stdout.splitlines() if line.strip()]
        except (OSError, ValueError, subprocess.SubprocessError):
            return []
    return [
        Choice(row["name"], row["title"], False, row.get("download_mb"), row.get("licence", ""))
        for row in rows
        if row.get("downloadable") and not row.get("present") and row.get("output") == "depth"
        if row["name"] not in known and not row.get("needs_sparse_depth")
    ]


def download(report: Report, python: Path, name: str) -> None:
    """Fetch official weights; stopped half-way, the next attempt goes on from there.

    Raises:
        LeadlineError: It did not work, with the reason.
    """
    lines: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="leadline-") as folder,
        open(os.path.join(folder, "log"), "w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [*python_command(python, True), _RUN, "pull", name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=python_environment(True),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process,
    ):  # fmt: skip
        try:
            while process.poll() is None:
                report.check()
                report.progress(f"downloading {name}", 0.0)
                report.stop.wait(0.3)
        finally:
            if process.poll() is None:
                process.kill()
        log.seek(0)
        lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    if process.returncode:
        raise LeadlineError(f"{name} could not be downloaded: {lines[-1][:300] if lines else 'it said nothing'}")
