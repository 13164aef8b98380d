"""Which requests are taken, and what becomes of them inside: tickets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from leadline.serving.protocol import messages, pixels, wire
from leadline.serving.protocol.messages import Limits, Quota, WireError
from leadline.serving.server.access import Connection
from leadline.serving.server.batching import Ticket, network_megapixels
from leadline.serving.server.lender import Block, Lender

#: Long edge that a model makes of an image, until its first load says better.
USUAL_SIZE_PX = 768


@dataclass(eq=False)
class Work:
    """What the server keeps with a ticket: how to answer it, and what it last said."""

    key: tuple[str, str]
    to: Connection
    bodies: list[Any]
    asked: messages.Predict
    told: float
    stage: str = "queued"
    fraction: float = 0.0
    started: float | None = None


@dataclass
class Admission:
    """Makes tickets of requests, or says why not. What is in an image is looked at elsewhere.

    Attributes:
        models: Name → what the loader takes; the first is the default.
        limits: For everybody.
        quota: For a client.
        about: What is known of a model.
        lender: Lends memory to clients; None if nobody does.
        shares: Whether workers see what is lent.
    """

    models: Mapping[str, str]
    limits: Limits
    quota: Callable[[str], Quota]
    about: Callable[[str], Mapping[str, Any]]
    lender: Lender | None
    shares: Callable[[], bool]

    def ticket(self, request: messages.Predict, to: Connection, bodies: list[Any], now: float) -> Ticket:
        """The ticket of a request; its ``data`` is a :class:`Work`.

        Raises:
            WireError: It asks for what there is not, or for too much.
        """
        if request.model is not None and request.model not in self.models:
            served = ", ".join(self.models)
            raise WireError(f"there is no model {request.model} here; there is {served}", "unknown_model", request.id)
        asked, request = request, wire.with_defaults(request, next(iter(self.models)), self.limits)
        shape = request.image.shape[:2] if request.image.shape is not None else None
        encoded = shape is None
        if shape is None:
            try:
                shape = pixels.image_size(bodies[0].buffer)
                wire.check_pixels(*shape, self.limits, request.id)
            except WireError as error:
                raise WireError(str(error), "bad_image", request.id) from error
        if request.steady is not None and shape[0] * shape[1] > self.limits.steady_megapixels * 1e6:
            raise WireError(
                f"a frame of {shape[1]}×{shape[0]} is too large to be held still; the limit is "
                f"{self.limits.steady_megapixels:g} megapixels",
                id=request.id,
            )
        info = self.about(request.model or "")
        ticket = Ticket(
            to.client,
            request,
            shape,
            nbytes=sum(len(body) for body in bodies),
            arrived=now,
            deadline=now + (request.deadline_s or 0.0),
            block=None if request.block is None else self._block(request, shape),
            data=Work(key_of(to, request), to, bodies, asked, told=now),
            megapixels=network_megapixels(shape, request.size, info.get("default_size") or USUAL_SIZE_PX),
            ready=not encoded,
            film=None if request.steady is None else (key_of(to, request)[0], request.steady),
        )
        self._check_work(ticket, info.get("default_steps") or 1)
        return ticket

    def _check_work(self, ticket: Ticket, default_steps: int) -> None:
        most = self.quota(ticket.client).work or self.limits.work
        work = ticket.work * (ticket.request.steps or default_steps)
        if work > most:
            raise WireError(
                f"this is {work:.0f} megapixels of work (pixels × ensemble × steps); the limit is {most:g}; "
                "make size, ensemble or steps smaller",
                id=ticket.request.id,
            )

    def _block(self, request: messages.Predict, shape: tuple[int, int]) -> Block:
        """The lent block of a request, which holds everything that the request says is in it."""
        block = None
        if self.lender is not None and self.shares():
            block = self.lender.find(request.block or 0, request.session)
        if block is None:
            raise WireError("this block was not lent; send the image as a body", "no_block", request.id)
        wanted = [(request.image.at or 0, math.prod(request.image.shape or ()))]
        wanted += [(at, pixels.map_nbytes(request.reply, *shape) or 0) for at in request.maps_at]
        if not all(block.holds(*one) for one in wanted):
            raise WireError(
                f"image.at and maps_at are multiples of {messages.BLOCK_ALIGNMENT} with room in the block",
                id=request.id,
            )
        return block


def key_of(to: Connection, request: messages.Predict | messages.Cancel) -> tuple[str, str]:
    """What tells a request from all others: a session where the client has one, else its connection. Clients with
    keys cannot reach into each other's sessions."""
    owner = to.client if to.inner or to.client.startswith("key:") else ""
    return f"{owner}/{request.session or to.route.hex()}", request.id


def is_repetition(ticket: Ticket, request: messages.Predict, to: Connection) -> bool:
    """Whether a request is the same that a ticket was made for, asked again over another connection."""
    return bool(ticket.data.to != to and _plainly(ticket.data.asked) == _plainly(request))


def _plainly(request: messages.Predict) -> messages.Predict:
    """A request without where its bytes are: a client may send it again another way."""
    return replace(request, image=replace(request.image, at=None), block=None, maps_at=())
