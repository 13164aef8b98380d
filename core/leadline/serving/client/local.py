"""A server of one's own, started on demand. Standard library and pyzmq only: this runs in Blender's Python."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from leadline.errors import LeadlineError
from leadline.serving.client.client import Client, ServerUnreachable
from leadline.serving.folders import PrivateFolder

#: Tried when looking for an interpreter, after LEADLINE_PYTHON and before the `leadline` program on the PATH.
PYTHON_VARIABLE = "LEADLINE_PYTHON"
_PROBE = "import importlib.util, leadline.serving.server.server; assert importlib.util.find_spec('torch')"
_RUN = "from leadline.cli.main import main; main()"
_PROBE_TIMEOUT_S = 60.0


class LocalServerError(LeadlineError):
    """The local server could not be started; the text says why and what to do."""


class LocalServer:
    """Starts `leadline serve` on a private address, waits until it answers, and ends it.

    On Linux and macOS the address is a socket file in a folder that only this user can enter; on Windows, a free
    port on 127.0.0.1. The server ends when :meth:`stop` is called and also when this process dies, however it dies:
    it watches its standard input, which the operating system closes for us.

    >>> with LocalServer(models=["fiffdepth-mini"]) as server, server.client() as client:   # doctest: +SKIP
    ...     client.predict("photo.jpg")

    Args:
        python: Interpreter that has Leadline with torch. None: see :func:`find_interpreter`.
        models: Names to serve; None for every model whose weights are here.
        device: As for ``leadline.load``.
        log_path: File for the server's log; None: a temporary file, at :attr:`log_path`.
        arguments: Further arguments for `leadline serve`.
        isolated: For a host program with a Python of its own, such as Blender: no PYTHON* variable reaches the server.

    Whether isolated or not, the server's working folder is its own, so modules that lie in ours are never run.
    """

    def __init__(
        self,
        python: str | Path | None = None,
        models: Sequence[str] | None = None,
        device: str = "auto",
        log_path: str | Path | None = None,
        arguments: Sequence[str] = (),
        isolated: bool = False,
    ) -> None:
        self._python = None if python is None else Path(python).absolute()
        self._options = [*(f"--model={_absolute(name)}" for name in models or ()), f"--device={device}", *arguments]
        self._isolated = isolated
        self._process: subprocess.Popen[str] | None = None
        self._folder: PrivateFolder | None = None
        self._keep_log = None if log_path is None else Path(log_path)
        self.log_path: Path | None = self._keep_log
        self.address: str | None = None

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 60.0) -> str:
        """Start the server, or do nothing if it runs; returns its address once it answers.

        Raises:
            LocalServerError: No interpreter was found, or the server ended or did not answer in time.
        """
        if self.running and self.address is not None:
            return self.address
        self.stop()
        deadline = time.monotonic() + timeout_s
        python = self._python or find_interpreter(self._isolated)
        self._folder = PrivateFolder("leadline-local-")
        self.log_path = self._keep_log or self._folder.path / "server.log"
        bind = "tcp://127.0.0.1:*" if os.name == "nt" else f"ipc://{self._folder.path / 'server'}"
        command = [*python_command(python, self._isolated), _RUN]
        command += ["serve", f"--bind={bind}", "--end-with-stdin", "--announce"]
        with self.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [*command, *self._options],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=self._folder.path,
                    env=python_environment(self._isolated),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            except OSError as error:
                raise LocalServerError(f"{python} cannot be run ({error.strerror}); choose another Python") from error
        try:
            address = self._announced(deadline)
            with Client(address, reconnect_s=max(1.0, deadline - time.monotonic())) as client:
                client.hello(timeout_s=max(1.0, deadline - time.monotonic()))
        except ServerUnreachable as error:
            reason = self._last_words()
            self.stop()
            raise LocalServerError(f"the local server does not answer: {reason}") from error
        except LocalServerError:
            self.stop()
            raise
        self.address = address
        return address

    def client(self, **options: Any) -> Client:
        """A client of this server."""
        return Client(self.start(), **options)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the server; harmless if there is none."""
        process, self._process, self.address = self._process, None, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _announced(self, deadline: float) -> str:
        """The address from the first line the server prints: ``{"listening": address}``."""
        assert self._process is not None
        assert self._process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read_line, args=(self._process.stdout, lines), daemon=True).start()
        try:
            line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            raise LocalServerError(f"the local server did not start in time: {self._last_words()}") from None
        try:
            return str(json.loads(line)["listening"])
        except (ValueError, KeyError, TypeError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
            raise LocalServerError(f"the local server did not start: {self._last_words()}") from None

    def _last_words(self) -> str:
        """The end of the log, on one line."""
        try:
            lines = (self.log_path or Path()).read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:300] if lines else "it said nothing"


def find_interpreter(isolated: bool = False) -> Path:
    """A Python that has Leadline with torch.

    Tried in this order: the LEADLINE_PYTHON environment variable; this interpreter; the one of the `leadline` program
    on the PATH; `python3` and `python` on the PATH. Each is asked, so this can take seconds. ``isolated``: as for
    :class:`LocalServer`.

    Raises:
        LocalServerError: None of them has it.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    program = shutil.which("leadline")
    beside = [] if program is None else [Path(program).resolve().parent / name for name in ("python", "python.exe")]
    on_path = [Path(found) for name in ("python3", "python") if (found := shutil.which(name))]
    tried = []
    for candidate in [Path(named)] if named else [Path(sys.executable), *beside, *on_path]:
        if candidate.is_file() and candidate not in tried:
            tried.append(candidate)
            if has_leadline(candidate, isolated):
                return candidate
    listed = ", ".join(str(one) for one in tried) or "nothing"
    raise LocalServerError(
        f"no Python with leadline[serve] was found (tried {listed}); install it, or set {PYTHON_VARIABLE}"
    )


def has_leadline(python: Path, isolated: bool = False) -> bool:
    """Whether an interpreter has Leadline with torch. Asks it, which takes up to seconds."""
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        try:
            probe = subprocess.run(
                [*python_command(python, isolated), _PROBE],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT_S,
                cwd=folder,
                env=python_environment(isolated),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return probe.returncode == 0


def python_command(python: Path, isolated: bool) -> list[str]:
    """The command that runs code given as text. Not -I: it would hide what `pip install --user` installed."""
    return [str(python), *(["-E"] if isolated else []), "-c"]


def python_environment(isolated: bool) -> dict[str, str]:
    """The environment for such a command: ours, without PYTHON* if isolated; processes that the server starts do not import from their folder either."""
    kept = {name: value for name, value in os.environ.items() if not (isolated and name.startswith("PYTHON"))}
    return kept | {"PYTHONSAFEPATH": "1"}


def _absolute(model: str) -> str:
    """A model's NAME or NAME=WHERE, as it is understood in any folder."""
    name, equals, where = model.partition("=")
    return f"{name}={Path(where).absolute()}" if equals and where and Path(where).exists() else model


def _read_line(pipe: IO[str], lines: queue.Queue[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        lines.put(pipe.readline())
