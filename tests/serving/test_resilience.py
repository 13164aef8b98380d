"""Processes that are killed, and bytes that mean harm."""

from __future__ import annotations

import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import zmq
from serving_soak import mutated, valid_message
from stand_in import expected
from waiting import until

from leadline.serving.client.client import Client, ServerError, ServerUnreachable, TimedOut
from leadline.serving.processes import private_bytes
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.messages import Limits
from leadline.serving.server.access import Connection, Doorkeeper
from leadline.serving.server.growth import Growth
from leadline.serving.server.server import Server
from leadline.serving.server.tuned import FRONT

HERE = str(Path(__file__).parent)
SERVE = "from leadline.cli.main import main; main()"


@contextmanager
def server_process(*arguments: str, model: dict[str, Any] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`leadline serve` as a process of its own, and its address."""
    command = [sys.executable, "-c", SERVE, "serve", "--announce", "--end-with-stdin", "--loader=stand_in:load",
               "--bind=tcp://127.0.0.1:*", f"--model=plain={json.dumps(model or {})}", "--log-level=warning", *arguments]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": HERE}
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, json.loads(process.stdout.readline())["listening"]
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def running(client: Client) -> int:
    return int(client.status()["running"])


def test_a_killed_worker_is_replaced_and_its_requests_done_again(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start({"slow": {"step_s": 0.2}})
    with Client(server.address, timeout_s=90) as client:
        job = client.submit(image, steps=5, seed=3)
        assert until(lambda: running(client) == 1)
        (worker,) = client.status()["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        np.testing.assert_array_equal(job.result(60).values, expected(image, 3, 5))
        assert client.status()["workers"][0]["pid"] != worker["pid"]


def test_a_request_that_kills_its_worker_twice_is_given_up_and_spares_its_company(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start({"plain": {"die_of": 666}}, window_s=0.2)
    with Client(server.address, timeout_s=40) as client, Client(server.address, timeout_s=90) as other:
        assert until(lambda: client.status()["workers"][0]["state"] == "idle")
        other.predict(image)
        deadly = client.submit(image, seed=666)
        harmless = other.submit(image, seed=5)
        with pytest.raises(ServerError) as caught:
            deadly.result(40)
        assert caught.value.code == "worker_lost"
        np.testing.assert_array_equal(harmless.result(40).values, expected(image, 5))
        np.testing.assert_array_equal(client.predict(image, seed=6).values, expected(image, 6))


def test_a_worker_that_hangs_is_killed(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"stuck": {"step_s": 60.0}}, hang_s=0.3)
    with Client(server.address, timeout_s=90) as client:
        job = client.submit(image, steps=1, on_progress=lambda _: None)
        assert until(lambda: job.progress is not None and job.progress.stage == "solve")
        pid = client.status()["workers"][0]["pid"]
        job.cancel()
        assert until(lambda: client.status()["workers"][0]["pid"] not in (pid, None))


def test_a_killed_server_ends_in_words_within_the_time_out(image: np.ndarray) -> None:
    with server_process(model={"step_s": 0.2}) as (process, address), Client(address, reconnect_s=1.0) as client:
        job = client.submit(image, steps=30)
        assert until(lambda: running(client) == 1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        started = time.monotonic()
        with pytest.raises(ServerUnreachable, match="no server answers"):
            job.result(60)
        assert time.monotonic() - started < 30.0
        assert children
        assert until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_a_server_that_comes_back_finishes_the_request(image: np.ndarray, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/server"
    with Client(address, timeout_s=90, reconnect_s=30) as client:
        with server_process(f"--bind={address}", model={"step_s": 0.2}) as (process, _):
            job = client.submit(image, steps=4, seed=8)
            assert until(lambda: running(client) == 1)
            process.kill()
        with server_process(f"--bind={address}", model={"step_s": 0.0}):
            np.testing.assert_array_equal(job.result(60).values, expected(image, 8, 4))


def test_a_server_that_stands_still_ends_in_words(image: np.ndarray) -> None:
    with server_process() as (process, address), Client(address, reconnect_s=1.0) as client:
        client.hello()
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises((TimedOut, ServerUnreachable)):
                client.predict(image, timeout_s=2.0)
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_killed_client_frees_the_worker(start: Callable[..., Server], image: np.ndarray, tmp_path: Path) -> None:
    server = start({"slow": {"step_s": 1.0}})
    program = f"""
import numpy as np
from leadline.serving.client.client import Client
client = Client({server.address!r})
client.submit(np.zeros((48, 64, 3), np.uint8), steps=60)
client.submit(np.zeros((48, 64, 3), np.uint8), steps=60).result()
"""
    with Client(server.address, timeout_s=150) as client:
        victim = subprocess.Popen([sys.executable, "-c", program])
        assert until(lambda: client.status()["running"] + client.status()["waiting"] == 2)
        victim.kill()
        victim.wait()
        started = time.monotonic()
        np.testing.assert_array_equal(client.predict(image, steps=1).values, expected(image, steps=1))
        assert time.monotonic() - started < 60.0  # not the 2 minutes of its steps


def test_a_broken_connection_does_not_compute_twice(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.2}})
    header = wire.request_header(
        messages.Predict("job", messages.ImageInfo("raw", (48, 64, 3)), session="s" * 20, steps=10, seed=4)
    )
    frames = wire.pack(header, [image.tobytes()])
    with zmq.Context() as context, Client(server.address) as watcher:
        for last in (False, True):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger, dealer.rcvtimeo = (0, 20000) if last else (-1, 20000)
                dealer.connect(server.address)
                dealer.send_multipart(frames)
                assert until(lambda: running(watcher) == 1)
                while last:
                    reply = wire.read_reply(dealer.recv_multipart())
                    if isinstance(reply, messages.Result):
                        break
                    assert isinstance(reply, messages.Progress)
        counted = ("ok", "client_gone")  # just after the answer is sent
        assert until(lambda: sum(server.metrics.value("outcomes_total", code=code) for code in counted) in (1, 2))
        assert until(lambda: running(watcher) == 0)


def pour(raw: socket.socket, part: bytes, times: int) -> None:
    for _ in range(times):
        raw.sendall(part)


def test_mutated_messages_leave_the_server_answering(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(limits=Limits(rate_per_s=1e6, burst=1_000_000))
    rng = random.Random(0)
    with Client(server.address, timeout_s=90) as client, zmq.Context() as context:
        client.predict(image)
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.sndtimeo = 5000
            dealer.connect(server.address)
            for _ in range(1500):
                dealer.send_multipart(mutated(rng, valid_message(rng)))
                while dealer.poll(0):
                    dealer.recv_multipart()
        np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))
        assert client.status()["workers"][0]["state"] in ("idle", "busy")


def test_raw_bytes_on_the_socket_leave_the_server_answering(
    start: Callable[..., Server], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are messages of ZeroMQ 1, which has no handshake and does not say where they come from."""
    said: list[str] = []
    monkeypatch.setattr("leadline.serving.server.server.log", lambda event, *_, **__: said.append(event))
    server = start()
    where = urlsplit(server.address)
    rng = random.Random(1)
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48)
    with Client(server.address, timeout_s=90) as client:
        for _ in range(60):
            with closing(socket.create_connection((where.hostname, where.port), 5)) as raw:
                raw.sendall((greeting if rng.random() < 0.5 else b"") + rng.randbytes(rng.randrange(500)))
        client.predict(image)
    assert "listening" in said
    assert "the front stumbled" not in said


def test_a_connection_gone_before_it_was_looked_at_keeps_no_pipe_open() -> None:
    """Its descriptor may be that of a pipe by then: a worker's start waits for the end of one."""
    reading, writing = os.pipe()
    connection = Connection(b"route", "somebody", writing, "127.0.0.1:1")
    with open(reading, "rb") as pipe:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as listening:
            doorkeeper = Doorkeeper(listening, 10)
            assert not doorkeeper.cut(connection)
            doorkeeper.monitor.close(0)
        os.close(writing)
        assert select.select([pipe], [], [], 5)[0]
        assert pipe.read() == b""


def own_memory(nbytes: int) -> mmap.mmap:
    """Memory of this process alone, which no allocator has had before."""
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * nbytes)
    return memory


def test_memory_that_is_not_the_connections_is_left_alone(start: Callable[..., Server], image: np.ndarray) -> None:
    if private_bytes() == 0:
        pytest.skip("memory of a process cannot be read on this system")
    before = own_memory(64 << 20)
    server = start(limits=Limits(queue_bytes=8 << 20), spare_bytes=24 << 20)

    def drops() -> float:
        return server.metrics.value("socket_recycles_total")

    with Client(server.address, timeout_s=60) as client:
        client.predict(image)
        time.sleep(2.0)  # the front looks twice a second
        assert drops() == 0
        later = own_memory(96 << 20)  # the program that the server runs in goes on
        assert until(lambda: drops() > 0)
        seen = [drops()]

        def rests() -> bool:
            time.sleep(2.0)
            seen.append(drops())
            return seen[-1] == seen[-2]

        assert until(rests)
        np.testing.assert_array_equal(client.predict(image, seed=9).values, expected(image, 9))
    assert len(before) < len(later)


def test_growth_is_measured_from_what_remains() -> None:
    growth = Growth(100, 50)
    assert not growth.is_too_much(150)
    assert growth.is_too_much(151)
    assert not growth.is_too_much(20)  # it went with the connections
    assert growth.is_too_much(121)
    assert [growth.is_too_much(121) for _ in range(FRONT.drops_in_vain)] == [True] * (FRONT.drops_in_vain - 1) + [False]
    assert not growth.is_too_much(221)
    assert growth.is_too_much(222)


def test_more_events_than_anybody_has_read_stop_neither_connections_nor_the_end() -> None:
    """libzmq keeps room for 2000 events; who comes and goes makes three."""
    context = zmq.Context()
    listening = context.socket(zmq.ROUTER)
    doorkeeper = Doorkeeper(listening, 5000)
    port = listening.bind_to_random_port("tcp://127.0.0.1")
    for _ in range(1500):
        socket.create_connection(("127.0.0.1", port), 5).close()
    time.sleep(1.0)

    def end() -> None:
        listening.disable_monitor()
        doorkeeper.monitor.close(0)
        listening.close(0)
        context.term()

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(20)
    assert not ending.is_alive()


def test_a_message_without_end_cannot_eat_the_memory(start: Callable[..., Server], image: np.ndarray) -> None:
    limits = Limits(queue_bytes=32 << 20, image_bytes=8 << 20, megapixels=2.0)
    server = start(limits=limits, spare_bytes=200 << 20)
    before = private_bytes()
    if before == 0:
        pytest.skip("memory of a process cannot be read on this system")
    highest, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            highest[0] = max(highest[0], private_bytes() - before)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    where = urlsplit(server.address)
    part = b"\x03" + struct.pack(">Q", 4 << 20) + bytes(4 << 20)  # a long frame with "more to come"
    try:
        with Client(server.address, timeout_s=90, reconnect_s=20) as client:
            client.hello()
            with closing(socket.create_connection((where.hostname, where.port), 5)) as raw:
                raw.sendall(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48))
                raw.sendall(b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0")
                raw.settimeout(10)
                with pytest.raises(OSError, match=r"reset|pipe|timed out"):
                    pour(raw, part, 2000)  # 8 GB
            assert server.metrics.value("socket_recycles_total") >= 1
            np.testing.assert_array_equal(client.predict(image, seed=1).values, expected(image, 1))
    finally:
        ended.set()
        watcher.join()
    assert highest[0] < 3 << 30
