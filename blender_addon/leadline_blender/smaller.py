# SPDX-License-Identifier: GPL-3.0-or-later
"""Large pictures, decoded and made smaller by a second Blender, so that the window of the first never waits. No `bpy` here."""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leadline.serving.client.local import python_environment

from .stored import StoredImage
from .task import Report

_SCRIPT = Path(__file__).with_name("shrink.py")
_POLL_S = 0.02
_SILENCE_S = 120.0


@dataclass(frozen=True)
class Picture:
    """What a second Blender has to know of an image in the first.

    Attributes:
        blender: The command that runs a script in Blender, up to the script.
        file: Its path, or the content of a file that is packed into the .blend.
        suffix: That of the file's name.
        colours, alpha: Its colour space and alpha mode.
        orientation: How it is stored (EXIF).
    """

    blender: list[str]
    file: str | bytes
    suffix: str
    colours: str
    alpha: str
    orientation: int


def made_smaller(report: Report, picture: Picture, edge: int) -> StoredImage | None:
    """The numbers of a picture, of no more than ``edge`` pixels on a side; None if a second Blender cannot give them."""
    with tempfile.TemporaryDirectory(prefix="leadline-", ignore_cleanup_errors=True) as folder:
        path, out = picture.file, Path(folder) / "numbers.npz"
        if isinstance(path, bytes):
            packed = Path(folder) / f"packed{picture.suffix}"
            packed.write_bytes(path)
            path = str(packed)
        try:
            process = subprocess.Popen(
                [*picture.blender, str(_SCRIPT), "--", path, str(edge), picture.colours, picture.alpha, str(out)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=folder, env=python_environment(True), creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except OSError:
            return None
        try:
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < _SILENCE_S:
                report.check()
                time.sleep(_POLL_S)
        finally:
            process.kill()
            code = process.wait()
        if code != 0 or not out.exists():
            return None
        with np.load(out, allow_pickle=False) as numbers:
            return StoredImage(numbers["values"], bool(numbers["linear"]), picture.orientation)
