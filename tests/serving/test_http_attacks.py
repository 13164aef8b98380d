"""What strangers do to the HTTP interface, and that others get their answers all the same."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import uvicorn
from test_http import ask, encoded
from uvicorn.server import ServerState

from leadline.serving.client.keys import KeyRing
from leadline.serving.http import main
from leadline.serving.http.uploads import Uploads
from leadline.serving.server.server import Server

POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
#: Far longer than an answer takes, far shorter than anything here would hold others up.
SOON_S = 20.0


@contextmanager
def connected(http: Server) -> Iterator[socket.socket]:
    where = urlsplit(http.http_address)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), 30) as connection:
        yield connection


def assert_answers(http: Server, image: np.ndarray) -> None:
    started = time.monotonic()
    status, answer, _ = ask(http, "/v1/predict?model=quick", encoded(image))
    assert status == 200, answer
    assert time.monotonic() - started < SOON_S


def ends(connection: socket.socket) -> bool:
    """Whether the other side closes within a time."""
    connection.settimeout(30)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def test_uploads_that_do_not_end_keep_nobody_waiting(http: Server, image: np.ndarray) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            one = stack.enter_context(connected(http))
            one.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + b"\x89PNG crumbs")
        assert_answers(http, image)


def test_a_body_in_crumbs_ends_its_connection(http: Server, image: np.ndarray) -> None:
    crumbs = b"1\r\n\0\r\n" * 10_000
    for pieces in ((POST + b"Transfer-Encoding: chunked\r\n\r\n" + crumbs,),
                   (POST + b"Transfer-Encoding: chunked\r\n\r\n", crumbs, crumbs)):  # fmt: skip
        with connected(http) as one:
            try:
                for piece in pieces:
                    one.sendall(piece)
                    time.sleep(0.05)
            except ConnectionError:
                continue
            assert ends(one)
    assert_answers(http, image)


def test_chunks_of_the_usual_size_are_welcome(http: Server, image: np.ndarray) -> None:
    body = encoded(image)
    chunks = [body[at : at + 1024] for at in range(0, len(body), 1024)]
    with connected(http) as one:
        one.sendall(POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for chunk in (*chunks, b""):
            one.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        answer = b""
        while piece := one.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]


@pytest.mark.parametrize(
    "head",
    [
        POST + b"X: " + b"a" * 1_000_000,
        POST + b"X: 1\r\n" * 100_000,
        b"GET /" + b"a" * 1_000_000,
        b"\x16\x03\x01" + b"\0" * 1_000_000,  # somebody speaks TLS
    ],
)
def test_heads_without_end_end_their_connection(http: Server, image: np.ndarray, head: bytes) -> None:
    with connected(http) as one:
        try:
            one.sendall(head)
        except ConnectionError:
            pass
        else:
            assert ends(one)
    assert_answers(http, image)


@pytest.mark.parametrize("before", [b"", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_that_comes_drop_by_drop_is_not_awaited(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(main, "FIRST_WORDS_S", 0.2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run() -> None:
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: main.Impatient(config, ServerState(), {}), "127.0.0.1")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        if before:
            writer.write(before)
            assert (await reader.read(1000)).startswith(b"HTTP/1.1 200")
        dropping = asyncio.create_task(drops(writer))
        with suppress(ConnectionError):  # a drop that comes after the end is answered by a reset
            assert await asyncio.wait_for(reader.read(), 20) == b""
        dropping.cancel()
        writer.close()
        server.close()

    async def drops(writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.02)

    asyncio.run(run())


def test_large_uploads_make_room_for_small_ones() -> None:
    uploads = Uploads(1000)
    with uploads.body() as large, uploads.body() as larger, uploads.body() as small:
        uploads.extend(large, bytes(400))
        uploads.extend(larger, bytes(500))
        uploads.extend(small, bytes(150))
        assert [large.dropped, larger.dropped, small.dropped] == [False, True, False]
        assert uploads.nbytes == 550
        uploads.extend(small, bytes(500))
        assert (small.dropped, uploads.nbytes) == (True, 400)
    assert uploads.nbytes == 0


def test_guessing_tokens_is_in_vain_and_stops_nobody(
    start: Callable[..., Server], image: np.ndarray, tmp_path: Path
) -> None:
    ring = KeyRing(tmp_path / "ring")
    key = ring.add("ana", tmp_path / "ana.key.json")
    token = json.loads((tmp_path / "ana.key.json").read_text())["token"]
    assert key is not None
    server = start({"quick": {}}, keys=tmp_path / "ring", http_port=0)
    guesses = [token[:-1] + ("a" if token[-1] != "a" else "b"), token.upper(), "", "a" * 60_000]
    guesses += [f"{number:064x}" for number in range(20)]
    for guess in guesses:
        status, _, _ = ask(server, "/v1/models", Authorization=f"Bearer {guess}")
        assert status == 401, guess
    status, _, _ = ask(server, "/v1/predict", encoded(image), Authorization=f"Bearer {token}")
    assert status == 200


@pytest.mark.parametrize("suffix", [".webp", ".tiff", ".bmp", ".npy", ".gif"])
def test_other_kinds_of_pictures_are_refused_unread(http: Server, image: np.ndarray, suffix: str) -> None:
    if suffix == ".npy":
        body = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1000000000000,), }"
    elif suffix == ".gif":
        body = b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(100)
    else:
        body = cv2.imencode(suffix, image)[1].tobytes()
    status, answer, _ = ask(http, "/v1/predict", body)
    assert (status, json.loads(answer)["code"]) == (422, "bad_image")
