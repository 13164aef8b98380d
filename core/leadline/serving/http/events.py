"""Progress and then the answer, as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from leadline.serving.http.body import HttpError
from leadline.serving.protocol.messages import Progress

MEDIA_TYPE = "text/event-stream"


async def stream(
    ask: Callable[[Callable[[Progress], None]], Awaitable[bytes]],
) -> AsyncIterator[bytes]:
    """Any number of ``progress``, then one ``result`` or ``error``.

    Args:
        ask: Asks, and tells how far it is; returns the result as JSON. It is cancelled when the reader goes away.
    """
    heard: asyncio.Queue[Progress | None] = asyncio.Queue()
    task = asyncio.ensure_future(ask(heard.put_nowait))
    task.add_done_callback(lambda _: heard.put_nowait(None))
    try:
        while (progress := await heard.get()) is not None:
            said = {"stage": progress.stage, "fraction": progress.fraction, "position": progress.position}
            yield _event("progress", said)
        try:
            yield b"event: result\ndata: " + await task + b"\n\n"
        except HttpError as error:
            yield _event("error", {"code": error.code, "message": str(error)})
    finally:
        task.cancel()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
