from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from stand_in import expected

from leadline.serving.client import local
from leadline.serving.client.local import LocalServer, LocalServerError, find_interpreter

STAND_IN = {"python": sys.executable, "models": ["plain={}"], "arguments": ["--loader=stand_in:load"]}


def test_it_starts_answers_and_ends(image: np.ndarray) -> None:
    with LocalServer(**STAND_IN) as server:
        with server.client(timeout_s=30) as client:
            np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))
        assert server.running
        address, folder = server.start(), server.log_path
        assert address == server.address
        if address.startswith("ipc://"):
            assert Path(address[6:]).parent.stat().st_mode & 0o077 == 0
    assert not server.running
    assert folder is not None
    assert not folder.exists()


def test_it_can_be_started_again_after_a_crash(image: np.ndarray, tmp_path: Path) -> None:
    server = LocalServer(**STAND_IN, log_path=tmp_path / "log")
    try:
        server.start()
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        with server.client(timeout_s=30) as client:
            client.predict(image)
    finally:
        server.stop()


def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match="did not start"):
        LocalServer(python=sys.executable, arguments=["--no-such-option"]).start()
    with pytest.raises(LocalServerError, match="cannot be run"):
        LocalServer(python=tmp_path / "python").start()


def test_it_ends_when_its_parent_is_killed() -> None:
    program = f"""
from leadline.serving.client.local import LocalServer
server = LocalServer(**{STAND_IN!r})
server.start()
print(server._process.pid, flush=True)
import time; time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        server = psutil.Process(int(parent.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 15
    while any(one.is_running() and one.status() != "zombie" for one in family):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_interpreter_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv(local.PYTHON_VARIABLE, sys.executable)
    assert find_interpreter() == Path(sys.executable)
    monkeypatch.setenv(local.PYTHON_VARIABLE, str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match="no Python with leadline"):
        find_interpreter()
