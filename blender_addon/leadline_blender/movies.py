# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that only Blender can read (movies, image formats other than JPEG and PNG), decoded by a second Blender.

The thread that measures a film takes them as PNG files: the window of the first Blender never waits. No `bpy` here.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leadline.errors import LeadlineError
from leadline.serving.client.local import python_environment

from .task import Report

_SCRIPT = Path(__file__).with_name("decode.py")
_POLL_S = 0.02
_SILENCE_S = 120.0


class Decoder:
    """Gives frames in order, as the content of PNG files; see :func:`decoding`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
        self._process, self._folder, self._name = process, folder, name

    def frame(self, report: Report, index: int) -> bytes:
        """Frame ``index``, once it is there.

        Raises:
            LeadlineError: It will not come.
        """
        path, began = self._folder / f"{index}.png", time.monotonic()
        while not path.exists():
            report.check()
            ended = self._process.poll() is not None
            if (ended or time.monotonic() - began > _SILENCE_S) and not path.exists():
                raise LeadlineError(f"Blender could not read frame {index + 1} of {self._name}")
            time.sleep(_POLL_S)
        content = path.read_bytes()
        path.unlink()
        return content


@contextmanager
def decoding(blender: list[str], files: list[Path], movie: bool, first: int, count: int) -> Iterator[Decoder]:
    """A second Blender that decodes frames ``first`` to ``count - 1`` of a movie or of a sequence of images.

    Args:
        blender: The command that runs a script in Blender, up to the script.
        files: The movie alone, or the images.
        movie: Which of the two.
    """
    with tempfile.TemporaryDirectory(prefix="leadline-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "files").write_text("\0".join(str(path) for path in files), encoding="utf-8")
        process = subprocess.Popen(
            [*blender, str(_SCRIPT), "--", folder, str(first), str(count), "movie" if movie else "images"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=folder, env=python_environment(True), creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        try:
            yield Decoder(process, Path(folder), files[0].name)
        finally:
            process.kill()
            process.wait()
