"""Frames held still by a helper process, for hosts whose own Python has no OpenCV (Blender).

One line of JSON about a frame goes to the helper, then float32 values and the picture's file; one line of JSON and float32
values come back. The stabiliser is :class:`leadline.video.stabiliser.Stabiliser`, as everywhere.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from leadline.errors import LeadlineError
from leadline.serving.client.local import python_command, python_environment
from leadline.types import FloatMap

_RUN = "from leadline.video.pipe import serve; serve()"


class SteadyProcess:
    """A stabiliser in a process of its own; a context manager.

    Args:
        python: An interpreter that has Leadline.
        isolated: As for :class:`~leadline.serving.client.local.LocalServer`.

    Raises:
        LeadlineError: The interpreter cannot be run.
    """

    def __init__(self, python: Path, isolated: bool = False) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        try:
            self._process = subprocess.Popen(
                [*python_command(python, isolated), _RUN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=python_environment(isolated),
                cwd=tempfile.gettempdir(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._words.close()
            raise LeadlineError(f"{python} cannot be run ({error.strerror}); choose another Python") from error

    def __enter__(self) -> SteadyProcess:
        return self

    def __exit__(self, *failed: object) -> None:
        self.close()

    def step(self, values: FloatMap, picture: bytes) -> FloatMap:
        """The next frame, steady.

        Args:
            values: float32 (H, W), a relative map.
            picture: The frame as JPEG or PNG, turned as the map is once its EXIF orientation is followed.

        Raises:
            LeadlineError: The helper ended; its last words.
        """
        head = {"shape": values.shape, "bytes": len(picture)}
        try:
            to, back = self._pipe(self._process.stdin), self._pipe(self._process.stdout)
            to.write(json.dumps(head).encode() + b"\n")
            to.write(np.ascontiguousarray(values, "<f4").tobytes())
            to.write(picture)
            to.flush()
            size = json.loads(back.readline() or b"{}").get("bytes", -1)
            steady = back.read(size) if size >= 0 else b""
        except (OSError, ValueError) as error:
            raise LeadlineError(f"the helper that holds films still ended: {self._last_words()}") from error
        if size != values.size * 4 or len(steady) != size:
            raise LeadlineError(f"the helper that holds films still ended: {self._last_words()}")
        return np.frombuffer(steady, "<f4").reshape(values.shape).astype(np.float32)

    def close(self) -> None:
        """End the process; harmless if it has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
