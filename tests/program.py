"""The `leadline` program for tests: its own entry point, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest


def leadline(*arguments, cwd: Path | None = None, **environment) -> subprocess.CompletedProcess:
    """Run `leadline ARGUMENTS` here, with its output kept and its exit code as a shell would see it."""
    from leadline.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    command = ["leadline", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        for name, value in environment.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def process(*arguments, cwd: Path | None = None, **environment) -> subprocess.CompletedProcess:
    """Run `python -m leadline ARGUMENTS`."""
    command = [sys.executable, "-m", "leadline", *map(str, arguments)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=settings, check=False)
