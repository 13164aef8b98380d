"""A request on its way, as the link sees it: its frames, and the shared memory that it uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.serving.client.job import Job
from leadline.serving.client.loan import WORTH_BYTES, Loan, Room
from leadline.serving.protocol import messages, pixels, wire


@dataclass(frozen=True)
class Lent:
    """The part of a loan that a request uses: its image, and room for its maps."""

    loan: Loan
    image: Room
    maps: tuple[Room, ...]

    @classmethod
    def of(cls, loan: Loan | None, request: messages.Predict, image: Any) -> Lent | None:
        """The image copied to where the server sees it; None if there is no loan, no room or no need."""
        need = need_bytes(request)
        if loan is None or not need:
            return None
        rooms = [loan.take(nbytes) for nbytes in need]
        if any(room is None for room in rooms):
            return None
        place, *maps = [room for room in rooms if room is not None]
        np.copyto(np.frombuffer(place.memory, np.uint8).reshape(image.shape), image)
        return cls(loan, place, tuple(maps))

    def apply_to(self, request: messages.Predict) -> messages.Predict:
        """The request, as one that says where everything is."""
        return replace(
            request,
            block=self.loan.number,
            image=replace(request.image, at=self.image.offset),
            maps_at=tuple(room.offset for room in self.maps),
        )

    def map_at(self, offset: int) -> memoryview:
        """What the server wrote to one of our rooms."""
        for room in self.maps:
            if room.offset == offset:
                return memoryview(room.memory)
        raise messages.WireError(f"the server put a map at {offset}, where it was not asked to")


def need_bytes(request: messages.Predict) -> list[int]:
    """Shared memory that a request could use: for image and maps; empty if it is not worth it."""
    shape = request.image.shape
    if shape is None or math.prod(shape) < WORTH_BYTES:
        return []
    nbytes = pixels.map_nbytes(request.reply, *shape[:2]) if request.output == "depth" else None
    maps = 0 if nbytes is None else 2 if request.ensemble > 1 or request.sparse is not None else 1
    return [math.prod(shape), *[nbytes or 0] * maps]


@dataclass
class Pending:
    """A request that has no outcome yet."""

    job: Job[Any]
    request: messages.Request
    timeout_s: float
    bodies: list[Any] = field(default_factory=list)
    lent: Lent | None = None
    deadline: float = 0.0
    heard: float = 0.0
    sends: int = 0

    @property
    def shape(self) -> tuple[int, int] | None:
        """(H, W) of the image, if it is known here."""
        image = self.request.image if isinstance(self.request, messages.Predict) else None
        return None if image is None or image.shape is None else image.shape[:2]

    def message(self, loan: Loan | None) -> list[Any]:
        """What to send: over shared memory the first time, if it still is ours, else everything in frames."""
        request, bodies = self.request, self.bodies
        if (
            isinstance(request, messages.Predict)
            and self.lent is not None
            and self.lent.loan is loan
            and not self.sends
        ):
            request, bodies = self.lent.apply_to(request), bodies[1:]
        return wire.pack(wire.request_header(request), [_contiguous(body) for body in bodies])


def as_prediction(
    result: messages.Result, bodies: Sequence[Any], lent: Lent | None
) -> DepthPrediction | NormalsPrediction:
    """The server's answer as what the caller gets; its maps come in frames or lie in shared memory."""
    carried = iter(bodies)

    def decoded(info: messages.MapInfo) -> npt.NDArray[np.float32]:
        if info.at is None:
            return pixels.decode_map(info, next(carried))
        if lent is None:
            raise messages.WireError("the server put a map into shared memory that it was not given")
        return pixels.decode_map(info, lent.map_at(info.at))

    values = decoded(result.values)
    uncertainty = None if result.uncertainty is None else decoded(result.uncertainty)
    validity = None if result.validity is None else pixels.decode_validity(result.validity, next(carried))
    if result.space is None:
        return NormalsPrediction(values, uncertainty, result.model, result.meta)
    return DepthPrediction(
        values=values,
        space=Space(result.space),
        uncertainty=uncertainty,
        metric=result.metric,
        model=result.model,
        meta=result.meta,
        validity=validity,
    )


def _contiguous(body: Any) -> Any:
    return np.ascontiguousarray(body).data if isinstance(body, np.ndarray) else body
