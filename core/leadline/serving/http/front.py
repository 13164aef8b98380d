"""The gateway's line to the front: the ordinary protocol, each message preceded by whose it is."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import zmq
import zmq.asyncio

from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.messages import Failure, Info, Progress, Result

#: A front with a request in hand speaks every second; so long a silence means that it hangs or is gone.
SILENCE_S = 6.0


@dataclass(eq=False)
class _Asked:
    """A request on its way."""

    client: bytes
    outcome: asyncio.Future[tuple[Any, list[Any]]]
    heard: float
    tell: Callable[[Progress], None] | None = None


class FrontLine:
    """Asks the front on behalf of clients.

    Args:
        endpoint: Where the front listens for the gateway.
    """

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoint)
        self._asked: dict[str, _Asked] = {}
        self._hearing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; to be called in the event loop."""
        self._hearing = asyncio.create_task(self._hear())

    async def close(self) -> None:
        """End the line."""
        if self._hearing is not None:
            self._hearing.cancel()
        self._socket.close(0)
        self._context.term()

    async def predict(
        self,
        client: str,
        request: messages.Predict,
        bodies: Sequence[bytes],
        tell: Callable[[Progress], None] | None = None,
    ) -> tuple[Result, list[Any]]:
        """A prediction: its header and bodies. ``tell`` hears how far it is. A caller that is cancelled cancels the request.

        Raises:
            WireError: With the front's code and words; ``worker_lost`` if the front itself says nothing any more.
        """
        request = replace(request, id=uuid.uuid4().hex, progress=tell is not None)
        try:
            reply, maps = await self._ask(client, request.id, wire.request_header(request), bodies, tell)
        except asyncio.CancelledError:
            cancel = wire.pack(wire.request_header(messages.Cancel(request.id)))
            await self._socket.send_multipart([client.encode(), *cancel])
            raise
        if not isinstance(reply, Result):
            raise messages.WireError("the server's answer is malformed", "model_failed")
        return reply, maps

    async def inform(self, request: messages.Hello | messages.Status) -> Mapping[str, Any]:
        """The front's answer to ``hello`` or ``status``."""
        request = replace(request, id=uuid.uuid4().hex)
        reply, _ = await self._ask("gateway", request.id, wire.request_header(request), [])
        return reply.header if isinstance(reply, Info) else {}

    async def _ask(
        self,
        client: str,
        identity: str,
        header: Mapping[str, Any],
        bodies: Sequence[Any],
        tell: Callable[[Progress], None] | None = None,
    ) -> tuple[Any, list[Any]]:
        loop = asyncio.get_running_loop()
        asked = self._asked[identity] = _Asked(client.encode(), loop.create_future(), loop.time(), tell)
        try:
            await self._socket.send_multipart([asked.client, *wire.pack(header, bodies)], copy=False)
            while not asked.outcome.done():
                await asyncio.wait([asked.outcome], timeout=SILENCE_S / 3)
                if not asked.outcome.done() and loop.time() - asked.heard > SILENCE_S:
                    raise messages.WireError("the server does not answer; try again later", "worker_lost")
            reply, frames = asked.outcome.result()
        finally:
            del self._asked[identity]
        if isinstance(reply, Failure):
            raise messages.WireError(reply.message, reply.code)
        return reply, frames

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frames = await self._socket.recv_multipart(copy=False)
            try:
                reply = wire.read_reply([frame.buffer for frame in frames])
            except messages.WireError:
                continue
            asked = self._asked.get(reply.id or "")
            if asked is None:
                continue
            asked.heard = loop.time()
            if isinstance(reply, Progress):
                if asked.tell is not None:
                    asked.tell(reply)
            elif not asked.outcome.done():
                asked.outcome.set_result((reply, [frame.buffer for frame in frames[2:]]))
