"""Memory lent to clients of this machine: the right pixels, no pixels of others, nothing left behind."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from stand_in import expected
from test_resilience import server_process
from waiting import until

import leadline
from leadline.serving.client.client import Client
from leadline.serving.client.keys import KeyRing
from leadline.serving.client.loan import Loan, ask, receive
from leadline.serving.server.lender import Lender
from leadline.serving.server.server import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")

SESSION = "s" * 20
SHAPE = (300, 400, 3)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)


def shared(server: Server) -> float:
    return server.metrics.value("shared_requests_total")


def with_loan(client: Client) -> None:
    """The first large request travels in messages and makes the client ask for memory."""
    client.predict(picture(0), steps=1)
    assert until(lambda: client._link.loan is not None)


def maps_blocks(pid: int) -> bool:
    return "leadline-block" in Path(f"/proc/{pid}/maps").read_text()


def test_maps_are_right_and_stay_so_while_others_come(start: Callable[..., Server]) -> None:
    server = start()
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)
        kept = [client.predict(picture(i), seed=i, ensemble=1 + i % 2) for i in range(60)]
        before = shared(server)
        assert 10 < before < 60  # then the loan was full of kept results, and the rest came in messages
        for i, result in enumerate(kept):
            np.testing.assert_array_equal(result.values, expected(picture(i), i, ensemble=1 + i % 2))
            assert (result.uncertainty is not None) == bool(i % 2)
        row = kept[0].values[7]  # a view keeps its memory
        del kept, result
        for i in range(30):
            client.predict(picture(99 + i), seed=500)
        assert shared(server) == before + 30
        np.testing.assert_array_equal(row, expected(picture(0))[7])
    np.testing.assert_array_equal(row, expected(picture(0))[7])  # even when the client is gone


@pytest.mark.parametrize("reply", ["float32", "float16", "uint16", "png16"])
def test_every_encoding(start: Callable[..., Server], reply: str) -> None:
    server = start()
    image = picture(3)[:, ::2]  # not contiguous
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)
        result = client.predict(image, reply=reply, ensemble=2)
        assert shared(server) == 1
        np.testing.assert_allclose(result.values, expected(image, ensemble=2), atol=2e-3)
        assert result.uncertainty is not None
        np.testing.assert_allclose(result.uncertainty, 0.5, atol=2e-3)


def test_memory_of_a_cancelled_request_is_not_used_again(start: Callable[..., Server]) -> None:
    server = start({"slow": {"step_s": 0.3}})
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)
        loan = client._link.loan
        job = client.submit(picture(1), steps=4)
        assert until(lambda: client.status()["running"] == 1)
        job.cancel()
        with pytest.raises(leadline.Cancelled):
            job.result(60)
        assert until(lambda: client._link.loan is not loan)
        np.testing.assert_array_equal(client.predict(picture(2), steps=1).values, expected(picture(2), steps=1))
        assert until(lambda: client._link.loan is not None)
        np.testing.assert_array_equal(client.predict(picture(4), steps=1).values, expected(picture(4), steps=1))
        assert shared(server) == 2


def test_a_killed_worker_loses_nothing(start: Callable[..., Server]) -> None:
    server = start({"slow": {"step_s": 0.2}})
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)
        job = client.submit(picture(1), steps=5, seed=3)
        assert until(lambda: client.status()["running"] == 1)
        os.kill(client.status()["workers"][0]["pid"], signal.SIGKILL)
        np.testing.assert_array_equal(job.result(60).values, expected(picture(1), 3, 5))
        assert shared(server) == 1


def test_a_killed_client_leaves_nothing_behind(start: Callable[..., Server]) -> None:
    server = start({"slow": {"step_s": 0.1}})
    program = f"""
import time
import numpy as np
from leadline.serving.client.client import Client
client = Client({server.address!r})
image = np.zeros({SHAPE}, np.uint8)
client.predict(image, steps=1)
while client._link.loan is None: time.sleep(0.01)
client.predict(image, steps=1)
print("ready", flush=True)
client.submit(image, steps=60).result()
"""
    victim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    with victim.stdout, Client(server.address, timeout_s=90) as client:
        assert victim.stdout.readline() == "ready\n"
        assert until(lambda: client.status()["running"] == 1)
        worker = client.status()["workers"][0]["pid"]
        assert server._lender is not None
        assert server._lender.held_bytes > 0
        assert maps_blocks(worker)
        victim.kill()
        victim.wait()
        assert until(lambda: server._lender is not None and server._lender.held_bytes == 0)
        assert until(lambda: not maps_blocks(worker))
        np.testing.assert_array_equal(client.predict(picture(1), steps=1).values, expected(picture(1), steps=1))


def test_a_killed_server_that_comes_back_finishes_the_request(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/server"
    with Client(address, timeout_s=90, reconnect_s=30) as client:
        with server_process(f"--bind={address}", model={"step_s": 0.2}) as (process, _):
            with_loan(client)
            loan = client._link.loan
            job = client.submit(picture(1), steps=4, seed=8)
            assert until(lambda: client.status()["running"] == 1)
            process.kill()
        with server_process(f"--bind={address}"):
            np.testing.assert_array_equal(job.result(60).values, expected(picture(1), 8, 4))
            with_loan(client)
            assert client._link.loan is not loan


def test_threads_share_a_loan_and_never_cross(start: Callable[..., Server]) -> None:
    server = start()
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)

        def ask_often(number: int) -> None:
            for seed in range(number * 100, number * 100 + 15):
                np.testing.assert_array_equal(
                    client.predict(picture(seed), seed=seed).values, expected(picture(seed), seed)
                )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask_often, range(8)))
        assert shared(server) > 60


def test_a_request_whose_block_is_unknown_is_sent_again_in_messages(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    with Client(server.address, timeout_s=90) as client:
        with_loan(client)
        monkeypatch.setattr(Lender, "find", lambda *_: None)
        np.testing.assert_array_equal(client.predict(picture(1)).values, expected(picture(1)))
        assert shared(server) == 0


@pytest.mark.parametrize("settings", [{"lend_bytes": 0}, {"arena_bytes": 0}])
def test_without_it_everything_travels_in_messages(start: Callable[..., Server], settings: dict[str, int]) -> None:
    server = start(**settings)
    with Client(server.address, timeout_s=30) as client, Client(server.address, timeout_s=90, share=False) as other:
        for one in (client, other, client):
            np.testing.assert_array_equal(one.predict(picture(1)).values, expected(picture(1)))
        assert client._link.loan is None
    assert shared(server) == 0


def test_clients_with_keys_borrow_too(start: Callable[..., Server], tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.add("ana", tmp_path / "ana.json")
    server = start(keys=ring.folder)
    with Client(server.address, client_keys=tmp_path / "ana.json", timeout_s=90) as ana:
        with_loan(ana)
        np.testing.assert_array_equal(ana.predict(picture(1)).values, expected(picture(1)))
    assert shared(server) == 1


def test_a_client_of_bare_sockets(start: Callable[..., Server]) -> None:
    """The exchange as docs/protocol.md has it, without this project's client; and what strangers get."""
    server = start()
    image = picture(5)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, 20000
        dealer.connect(server.address)

        def answer(**header: Any) -> tuple[dict[str, Any], list[bytes]]:
            dealer.send_multipart([b"LEADLINE1", json.dumps({"id": "1", **header}).encode()])
            while True:
                _, head, *bodies = dealer.recv_multipart()
                if json.loads(head)["op"] != "progress":
                    return json.loads(head), bodies

        hello, _ = answer(op="hello")
        assert Path(hello["blocks"]).parent.stat().st_mode & 0o077 == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as loan:
            loan.settimeout(20)
            loan.connect(hello["blocks"])
            loan.send(json.dumps({"session": SESSION, "nbytes": 1 << 20}).encode())
            message, descriptors, _, _ = socket.recv_fds(loan, 4096, 1)
            block = json.loads(message)
            with pytest.raises(OSError, match="not permitted"):
                os.ftruncate(descriptors[0], 0)
            memory = mmap.mmap(descriptors[0], block["nbytes"])
            memory[: image.size] = image.tobytes()
            request = {
                "op": "predict",
                "session": SESSION,
                "block": block["block"],
                "image": {"encoding": "raw", "shape": list(SHAPE), "at": 0},
                "maps_at": [400_000],
            }
            reply, bodies = answer(**request)
            assert (reply["op"], reply["values"]["at"], bodies) == ("result", 400_000, [])
            values = np.frombuffer(memory, "<f4", 300 * 400, 400_000).reshape(300, 400)
            np.testing.assert_array_equal(values, expected(image))

            assert answer(**{**request, "session": "t" * 20})[0]["code"] == "no_block"
            assert answer(**{**request, "block": block["block"] + 1})[0]["code"] == "no_block"
            for wrong in ([(1 << 20) - 64], [32], [2 << 20], [0, 0, 0], [-64], "0"):
                assert answer(**{**request, "maps_at": wrong})[0]["code"] == "bad_request"
            outside = {"encoding": "raw", "shape": list(SHAPE), "at": (1 << 20) - 64}
            assert answer(**{**request, "image": outside})[0]["code"] == "bad_request"
            os.close(descriptors[0])
        assert until(lambda: answer(**request)[0].get("code") == "no_block")


# --- the two halves by themselves


@pytest.fixture
def lender(tmp_path: Path) -> Iterator[Lender]:
    made = Lender.create(str(tmp_path / "blocks"), 1 << 20, 3 << 20)
    assert made is not None
    yield made
    made.close()


def borrowed(lender: Lender, session: str = SESSION, most_bytes: int = 1 << 20) -> Loan | None:
    connection = ask(lender.path, session, 1 << 20, most_bytes)
    assert connection is not None
    connection.settimeout(5)
    lender.attend()
    lender.attend()
    return receive(connection)


def test_loans_are_bounded_and_come_back(lender: Lender) -> None:
    loans = [borrowed(lender) for _ in range(4)]
    assert [loan is not None for loan in loans] == [True, True, True, False]
    assert lender.held_bytes == 3 << 20
    first = loans[0]
    assert first is not None
    number = first.number
    in_use = lender.find(number, SESSION)
    first.end()
    lender.attend()
    assert lender.find(number, SESSION) is None
    assert lender.held_bytes == 3 << 20  # a request still uses it
    del in_use
    assert lender.held_bytes == 3 << 20  # the client still has it mapped
    loans[0] = first = None
    assert lender.held_bytes == 2 << 20
    assert list(lender.gone) == [number]
    assert borrowed(lender) is not None


def test_rooms_are_free_when_nobody_looks_at_them(lender: Lender) -> None:
    loan = borrowed(lender)
    assert loan is not None
    rooms = [loan.take(400_000) for _ in range(3)]
    assert [room is not None for room in rooms] == [True, True, False]
    assert rooms[0] is not None
    view = np.frombuffer(rooms[0].memory, np.uint8)[5:10]
    rooms.clear()
    assert loan.take(800_000) is None
    del view
    assert loan.take(800_000) is not None


@pytest.mark.parametrize(
    "wish",
    [b"", b"\xff", b"[]", b"3", b"[" * 4000, b'{"session": "short", "nbytes": 4096}', b'{"nbytes": 4096}',
     b'{"session": ["ssssssssssssssssssss"], "nbytes": 4096}', b'{"session": "ssssssssssssssssssss", "nbytes": true}',
     b'{"session": "ssssssssssssssssssss", "nbytes": 0}', b'{"session": "ssssssssssssssssssss", "nbytes": 1048577}',
     b'{"session": "ssssssssssssssssssss", "nbytes": 1e400}'],
)  # fmt: skip
def test_wishes_that_are_not_granted(lender: Lender, wish: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(lender.path)
        if wish:
            stranger.send(wish)
        else:
            stranger.shutdown(socket.SHUT_RDWR)
        lender.attend()
        lender.attend()
        assert stranger.recv(4096) == b""
    assert lender.held_bytes == 0
    assert borrowed(lender) is not None


def test_no_server_no_loan(tmp_path: Path) -> None:
    assert ask(str(tmp_path / "nobody"), SESSION, 100, 1 << 20) is None
    assert ask("x" * 300, SESSION, 100, 1 << 20) is None
    assert Lender.create("x" * 300, 1 << 20, 1 << 20) is None


def test_memory_that_a_client_keeps_after_giving_it_back_counts_as_lent(start: Callable[..., Server]) -> None:
    server = start(lend_bytes=8 << 20)
    lender = server._lender
    if lender is None:
        pytest.skip("no memory is lent on this system")
    program = """
import sys
from leadline.serving.client.loan import ask, receive
connection = ask(sys.argv[1], "s" * 20, 1 << 20, 6 << 20)
connection.settimeout(10)
loan = receive(connection)
loan.end()
print("kept", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, lender.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdin is not None
        assert keeper.stdout.readline().strip() == "kept"
        assert until(lambda: lender.held_bytes == 6 << 20)
        other = ask(lender.path, "t" * 20, 1 << 20, 6 << 20)
        assert other is not None
        other.settimeout(60)
        assert receive(other) is None  # there is no more
        keeper.stdin.close()
        keeper.wait(60)
        assert until(lambda: lender.held_bytes == 0)
