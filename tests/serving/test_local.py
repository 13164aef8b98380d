from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from stand_in import expected
from waiting import until

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
    assert until(lambda: not any(one.is_running() and one.status() != "zombie" for one in family))


def test_the_interpreter_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv(local.PYTHON_VARIABLE, sys.executable)
    assert find_interpreter() == Path(sys.executable)
    monkeypatch.setenv(local.PYTHON_VARIABLE, str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match="no Python with leadline"):
        find_interpreter()


HOSTILE = "import pathlib; pathlib.Path(__file__).with_name('was_run').touch(); raise SystemExit('not the real one')"


def hostile_folder(folder: Path) -> Path:
    """A folder whose modules leave a trace when they are imported."""
    (folder / "leadline").mkdir(parents=True)
    for module in ("click.py", "zmq.py", "leadline/__init__.py"):
        (folder / module).write_text(HOSTILE)
    return folder


def test_modules_in_the_working_folder_are_never_run(
    image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile_folder(tmp_path))
    with LocalServer(**STAND_IN) as server, server.client(timeout_s=30) as client:
        client.predict(image)
    assert not list(tmp_path.rglob("was_run"))


def test_an_isolated_server_takes_nothing_from_python_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(hostile_folder(tmp_path)))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "no such home"))
    monkeypatch.setenv(local.PYTHON_VARIABLE, sys.executable)
    assert find_interpreter(isolated=True) == Path(sys.executable)
    with LocalServer(models=["fiffdepth-mini"], isolated=True) as server:
        assert server.running
    assert not list(tmp_path.rglob("was_run"))


def test_relative_paths_of_models_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").touch()
    assert local._absolute("mine=weights") == f"mine={tmp_path / 'weights'}"
    assert local._absolute("mini") == "mini"
    assert local._absolute("mine=org/repo") == "mine=org/repo"
