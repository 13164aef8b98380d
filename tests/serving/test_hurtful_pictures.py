"""Pictures that are built to cost memory or time: each is answered, and the next honest one is, too."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from conftest import HERE, serving
from PIL import Image
from stand_in import expected

from leadline.serving.client.client import Client, Refused
from leadline.serving.protocol.messages import Limits
from leadline.serving.server.server import Server

#: Longer than any of them takes to be refused on a busy machine.
SOON_S = 60.0


@pytest.fixture(scope="module")
def wide() -> Iterator[Server]:
    """A server with the usual limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", HERE)
        with serving({"quick": {}}, limits=Limits()) as server:
            yield server


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*extra: bytes, width: int = 16, height: int = 16, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    rows = rows or zlib.compress((b"\0" + bytes(width * 3)) * height)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@cache
def swollen(megabytes: int) -> bytes:
    """Zeros, a thousandth of their size."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segments(kind: bytes, number: int, content: bytes) -> bytes:
    """A JPEG with the same segment again and again."""
    whole = jpeg()
    return whole[:2] + (b"\xff" + kind + struct.pack(">H", len(content) + 2) + content) * number + whole[2:]


HURTFUL = {
    "text that swells to 512 MB": lambda: png(chunk(b"zTXt", b"a\0\0" + swollen(512))),
    "international text that swells": lambda: png(chunk(b"iTXt", b"a\0\1\0\0\0" + swollen(512))),
    "a colour profile that swells": lambda: png(chunk(b"iCCP", b"a\0\0" + swollen(512))),
    "pixels that swell beyond their size": lambda: png(rows=swollen(512)),
    "thousands of text chunks": lambda: png(*[chunk(b"tEXt", b"a\0" + b"b" * 100)] * 50_000),
    "a picture of frames": lambda: png(chunk(b"acTL", struct.pack(">II", 1 << 30, 0))),
    "16 bits, four channels, 33 megapixels of nothing": lambda: png(
        width=6000, height=5500, depth=16, colour=6, rows=swollen(252)
    ),
    "a palette of nothing": lambda: png(colour=3, rows=zlib.compress(bytes(17 * 16))),
    "one pixel high": lambda: png(width=1 << 24, height=1, rows=zlib.compress(bytes(1))),
    "thousands of comments": lambda: segments(b"\xfe", 50_000, b"a" * 100),
    "thousands of tables": lambda: segments(b"\xdb", 20_000, b"\0" + b"\1" * 64),
    "an orientation of nonsense": lambda: segments(b"\xe1", 50, b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xff" + b"\xff" * 60000),
    "a JPEG that says it is large": lambda: jpeg().replace(b"\0\x10\0\x10", b"\x15\x7c\x17\x70"),
    "a TIFF in a JPEG's clothes": lambda: b"\xff\xd8\xff" + b"II*\0" + bytes(1000),
}  # fmt: skip


@pytest.mark.parametrize("name", HURTFUL)
def test_a_hurtful_picture_costs_its_sender_only(wide: Server, image: np.ndarray, name: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    picture = HURTFUL[name]()
    with Client(wide.address, timeout_s=SOON_S) as client, Client(wide.address, timeout_s=SOON_S) as honest:
        honest.predict(image)
        worker = honest.status()["workers"][0]["pid"]
        started = time.monotonic()
        job = client.submit(picture)
        np.testing.assert_array_equal(honest.predict(buffer.getvalue()).values, expected(image))
        with suppress(Refused):  # where it is not what it seems, it has a map like any other
            job.result()
        assert time.monotonic() - started < SOON_S
        np.testing.assert_array_equal(honest.predict(image).values, expected(image))
        assert honest.status()["workers"][0]["pid"] == worker
