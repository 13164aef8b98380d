"""What strangers send without being asked, keys that go, health, reload, and what is left on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
import zmq
from stand_in import expected
from test_resilience import server_process
from waiting import until

from leadline.errors import InputError
from leadline.serving.client.client import AccessDenied, Client, ServerUnreachable
from leadline.serving.client.keys import KeyRing
from leadline.serving.folders import PrivateFolder
from leadline.serving.protocol.messages import Limits, Quota
from leadline.serving.server.server import Server


def flood(address: str, message: list[bytes], ended: threading.Event, sent: list[int]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndtimeo = 0, 100
        dealer.connect(address)
        while not ended.is_set():
            try:
                dealer.send_multipart(message)
                sent[0] += 1
            except zmq.Again:
                continue


@pytest.mark.parametrize("header", [b'{"op":"status","id":"1"}', b'{"op":' + b"[" * 8000 + b"]" * 8000 + b"}"])
def test_a_flood_is_dropped_unread_and_its_connection_cut(
    start: Callable[..., Server], image: np.ndarray, header: bytes
) -> None:
    server = start()
    ended, sent = threading.Event(), [0]
    with Client(server.address, timeout_s=90) as client:
        client.predict(image)
        quiet = sorted(_timed(client, image, seed) for seed in range(30))
        flooder = threading.Thread(target=flood, args=(server.address, [b"LEADLINE1", header], ended, sent))
        flooder.start()
        try:
            assert until(lambda: sent[0] > 2000)
            busy = sorted(_timed(client, image, seed) for seed in range(30))
            assert until(lambda: server.metrics.value("cut_connections_total") >= 1)
        finally:
            ended.set()
            flooder.join()
    assert server.metrics.value("socket_recycles_total") == 0
    assert busy[-2] < max(10.0, 5 * quiet[-2])


def _timed(client: Client, image: np.ndarray, seed: int) -> float:
    started = time.monotonic()
    np.testing.assert_array_equal(client.predict(image, seed=seed).values, expected(image, seed))
    return time.monotonic() - started


def test_bare_connections_neither_end_the_server_nor_keep_others_out(image: np.ndarray, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.add("ana", tmp_path / "ana.json")
    program = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (512, 512)); from leadline.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "serve", "--announce",
               "--end-with-stdin", "--loader=stand_in:load", "--model=plain={}", "--log-level=error",
               "--bind=tcp://127.0.0.1:*", f"--keys={ring.folder}"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        bare: list[socket.socket] = []
        try:
            address = json.loads(process.stdout.readline())["listening"]
            where = urlsplit(address)
            with Client(address, client_keys=tmp_path / "ana.json", timeout_s=90, reconnect_s=20) as ana:
                ana.predict(image)
                for _ in range(700):
                    bare.append(socket.create_connection((where.hostname, where.port), 5))
                os.kill(ana.status()["workers"][0]["pid"], signal.SIGKILL)  # the next one needs descriptors
                np.testing.assert_array_equal(ana.predict(image, seed=3).values, expected(image, 3))
            with Client(address, client_keys=tmp_path / "ana.json", timeout_s=90, reconnect_s=20) as again:
                np.testing.assert_array_equal(again.predict(image, seed=4).values, expected(image, 4))
        finally:
            for one in bare:
                one.close()
            process.stdin.close()
            process.wait(60)


def test_a_removed_key_ends_its_connections(start: Callable[..., Server], image: np.ndarray, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.add("ana", tmp_path / "ana.json")
    ring.add("ben", tmp_path / "ben.json")
    server = start({"slow": {"step_s": 1.0}}, keys=ring.folder)
    ana = Client(server.address, client_keys=tmp_path / "ana.json", timeout_s=90, reconnect_s=2)
    ben = Client(server.address, client_keys=tmp_path / "ben.json", timeout_s=90, reconnect_s=2)
    with ana, ben:
        ana.hello()
        job = ben.submit(image, steps=50)
        assert until(lambda: ana.status()["running"] == 1)
        time.sleep(1.2)  # the ring has been read
        ring.remove("ben")
        with pytest.raises((AccessDenied, ServerUnreachable)):
            job.result(60)
        assert until(lambda: ana.status()["running"] == 0, 30.0)  # not the 50 s of its steps
        np.testing.assert_array_equal(ana.predict(image, seed=2, steps=1).values, expected(image, 2, 1))


def test_quotas_of_a_key_hold_across_its_connections(
    start: Callable[..., Server], image: np.ndarray, tmp_path: Path
) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.add("ana", tmp_path / "ana.json", Quota(queue=2, work=2.5))
    server = start({"slow": {"step_s": 0.3}}, keys=ring.folder)
    clients = [Client(server.address, client_keys=tmp_path / "ana.json", timeout_s=90) for _ in range(3)]
    try:
        clients[0].hello()
        time.sleep(1.2)
        jobs = [client.submit(image, steps=3) for client in clients]
        outcomes = []
        for job in jobs:
            try:
                outcomes.append(job.result(60).shape)
            except Exception as error:
                outcomes.append(getattr(error, "code", repr(error)))
        assert sorted(map(str, outcomes)) == ["(48, 64)", "(48, 64)", "busy"]
        with pytest.raises(InputError, match="megapixels of work"):
            clients[0].predict(image, size=2000)
    finally:
        for client in clients:
            client.close()


def test_health_reflects_the_workers_and_the_front(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(metrics_port=0, silence_s=5.0)
    page = server._page
    assert page is not None
    base = f"http://127.0.0.1:{page.port}"

    def ask(path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urlopen(base + path, timeout=60) as response:
                return response.status, json.loads(response.read())
        except HTTPError as error:
            return error.code, json.loads(error.read())

    with Client(server.address, timeout_s=90) as client:
        client.predict(image)
        assert ask("/health/live")[0] == 200
        assert ask("/health/ready")[1]["ready"]
        os.kill(client.status()["workers"][0]["pid"], signal.SIGSTOP)
        assert until(lambda: ask("/health/ready")[0] == 503)
        assert ask("/health/live")[0] == 200
        assert until(lambda: ask("/health/ready")[0] == 200)
        with urlopen(f"{base}/metrics", timeout=60) as response:
            text = response.read().decode()
        assert 'leadline_worker_losses_total{replica="0"} 1.0' in text
    clock, fronts = server._clock, set[int]()
    server._clock = lambda: fronts.add(threading.get_ident()) or clock()
    assert until(lambda: fronts)
    front = frozenset(fronts)
    # For all but the front's own thread an hour has passed since its last turn.
    server._clock = lambda: clock() + (0.0 if threading.get_ident() in front else 3600.0)
    assert ask("/health/live")[0] == 503


def test_a_hangup_loads_models_anew(image: np.ndarray) -> None:
    with server_process() as (process, address), Client(address, timeout_s=90) as client:
        client.predict(image)
        assert until(lambda: client.status()["workers"][0]["models"] == ["plain"])
        process.send_signal(signal.SIGHUP)
        assert until(lambda: client.status()["workers"][0]["models"] == [])
        np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))


def test_two_models_and_memory_for_one_do_not_thrash(
    start: Callable[..., Server], image: np.ndarray, tmp_path: Path
) -> None:
    loads = tmp_path / "loads"
    models = {name: {"megabytes": 40, "load_s": 0.5, "step_s": 0.01, "loads": str(loads)} for name in "ab"}
    server = start(models, memory_bytes=50 << 20)
    counts, enough = {"a": 0, "b": 0}, threading.Event()

    def keep_asking(name: str) -> None:
        """Three requests wait at any time: what the server does then hangs on no client's speed."""
        with Client(server.address, timeout_s=90) as client:
            jobs = deque(client.submit(image, model=name, steps=2) for _ in range(3))
            while not enough.is_set():
                jobs.popleft().result()
                counts[name] += 1
                jobs.append(client.submit(image, model=name, steps=2))

    threads = [threading.Thread(target=keep_asking, args=(name,)) for name in counts]
    for thread in threads:
        thread.start()
    assert until(lambda: min(counts.values()) >= 20)  # nobody starves
    enough.set()
    for thread in threads:
        thread.join()
    # Taking turns would load a model for each reply. docs/server.md tells what the switching costs.
    assert sum(counts.values()) >= 3 * len(loads.read_text().splitlines()), counts


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.server()
    (ring.folder / "server.json").chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        ring.server()


def test_folders_of_the_killed_are_removed_and_those_of_the_living_are_not() -> None:
    kind = f"leadline-test-{os.getpid()}-"
    living = PrivateFolder(kind)
    program = f"from leadline.serving.folders import PrivateFolder as P; import os; print(P({kind!r}).path, flush=True); os.kill(os.getpid(), 9)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    left = Path(run.stdout.strip())
    assert left.is_dir()
    assert living.path.is_dir()
    PrivateFolder(kind).remove()
    assert not left.exists()
    assert living.path.is_dir()
    living.remove()
    assert not list(Path(tempfile.gettempdir()).glob(f"{kind}*"))


def test_idle_connections_do_not_block_lending(start: Callable[..., Server]) -> None:
    from leadline.serving.client.loan import ask, receive

    server = start(limits=Limits(block_bytes=64 << 20))
    assert server._lender is not None
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(70)]
    try:
        for one in idle:
            one.connect(server._lender.path)
        time.sleep(0.5)
        connection = ask(server._lender.path, "s" * 20, 1 << 20, 64 << 20)
        assert connection is not None
        connection.settimeout(5)
        loan = receive(connection)
        assert loan is not None
        loan.end()
    finally:
        for one in idle:
            one.close()


def test_systemd_is_told(image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with server_process() as (process, _):
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            process.terminate()
            process.wait(60)
        manager.setblocking(False)
        said = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                said.add(manager.recv(100))
        assert b"STOPPING=1" in said


DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def test_what_is_shipped_for_operators_fits_the_server() -> None:
    from leadline.serving.server.metrics import Metrics

    known = set(re.findall(r"^# TYPE (\S+)", Metrics().render(), re.MULTILINE))
    for name in ("grafana.json", "alerts.yaml"):
        text = (DEPLOY / name).read_text()
        used = {re.sub("_(bucket|sum|count)$", "", one) for one in re.findall(r"leadline_[a-z_]+", text)}
        assert used <= known | {one.removesuffix("_total") for one in known}, used - known
    assert len(json.loads((DEPLOY / "grafana.json").read_text())["panels"]) >= 8
    kinds = [one["kind"] for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())]
    assert kinds == ["Deployment", "PersistentVolumeClaim", "Service", "PodDisruptionBudget", "NetworkPolicy"]
    unit = (DEPLOY / "leadline.service").read_text()
    assert "Type=notify" in unit
    assert "KillMode=mixed" in unit


def test_the_container_starts_the_server_or_any_other_command(tmp_path: Path) -> None:
    program = tmp_path / "leadline"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def said(*arguments: str) -> str:
        command = ["sh", str(DEPLOY / "entrypoint.sh"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.strip()

    assert said("keys", "list", "--ring", "/keys") == "keys list --ring /keys"
    for arguments in ((), ("serve",)):
        assert said(*arguments).startswith("serve --bind tcp://0.0.0.0:5570 --http 8080")
    assert said("serve", "--drain-s", "5").endswith("--metrics-port 9570 --drain-s 5")


def test_the_container_copies_little_and_can_be_watched() -> None:
    ignored = (DEPLOY.parents[1] / ".dockerignore").read_text().split()
    assert "*" in ignored  # all but what is named
    assert not {"!.venv", "!.git", "!tests"} & set(ignored)
    recipe = (DEPLOY / "Containerfile").read_text()
    assert "HEALTHCHECK" in recipe
    assert re.search(r"^ARG ", recipe, re.MULTILINE)


def test_an_event_that_comes_ten_thousand_times_is_written_a_few_times_and_counted() -> None:
    program = (
        "from leadline.serving.logs import configure, log, LOGGER; import logging, time\n"
        "configure('json', 'info')\n"
        "for _ in range(10_000): log('refused connection', logging.WARNING)\n"
        "clock = time.time; time.time = lambda: clock() + 20.0\n"
        "log('refused connection', logging.WARNING)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert len(lines) == 51
    assert lines[-1]["held_back"] == 9950
