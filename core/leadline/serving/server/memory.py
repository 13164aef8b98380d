"""Where the bytes of requests and results are, between the front, its decoders and its workers: in the memory that they share,
in memory lent to a client, or, where neither has room, in the frames of messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import zmq

from leadline.serving.protocol import pixels
from leadline.serving.protocol.arena import Allocator, Arena
from leadline.serving.server.batching import Ticket
from leadline.serving.server.copies import Copy
from leadline.serving.server.outgoing import Outgoing
from leadline.serving.server.slots import Batch
from leadline.serving.server.tuned import FRONT, OUTGOING
from leadline.serving.worker import messages


class Memory:
    """Gives rooms of the shared memory to those who need them.

    Args:
        arena: Shared with local workers; None: there are none.
    """

    def __init__(self, arena: Arena | None) -> None:
        self._arena = arena
        self._rooms = Allocator(arena.size) if arena is not None else None
        self._outgoing = Outgoing(self.give_back, OUTGOING.untaken_bytes)

    def take(self, nbytes: int) -> int | None:
        """A room, to be given back; None if there is none."""
        return None if self._rooms is None else self._rooms.take(nbytes)

    def give_back(self, room: int) -> None:
        """Give a room back."""
        if self._rooms is not None:
            self._rooms.give_back(room)

    def release(self, batch: Batch, trackers: Sequence[Any] = ()) -> None:
        """A batch needs its rooms no more, once all trackers are done."""
        self._outgoing.add(trackers, batch.rooms)
        self._outgoing.collect()

    def collect(self) -> None:
        """Use the memory of results that have left again."""
        self._outgoing.collect()

    def slow_readers(self) -> frozenset[str]:
        """Clients that have left too much of their results untaken."""
        return self._outgoing.slow_readers()

    def job(self, ticket: Ticket, batch: Batch, frames: list[Any]) -> messages.Job:
        """A ticket as a worker gets it. What finds no room in shared memory is added to ``frames``; what is too large to be copied
        at once, to the batch's ``copies``."""
        request, block, pixels_ = ticket.request, ticket.block, ticket.pixels
        places: list[messages.Place] = []
        bodies = list(ticket.data.bodies)
        shape = request.image.shape
        if pixels_ is not None:  # decoded
            shape = pixels_.shape
            if pixels_.room is not None:
                places.append(["arena", pixels_.room[0], math.prod(pixels_.shape or ())])
                bodies = bodies[1:]
            else:
                bodies[0] = pixels_.pixels
        elif block is not None and request.image.at is not None and shape is not None:
            places.append(block.place(request.image.at, math.prod(shape)))
        for body in bodies:
            room = self._take_room(len(body), batch)
            if room is None:
                places.append(["frame", len(frames)])
                frames.append(body)
            else:
                assert self._arena is not None
                copy = Copy(self._arena.view(room, len(body)), memoryview(getattr(body, "buffer", body)))
                if not copy.go_on(FRONT.copied_at_once_bytes):
                    batch.copies.append(copy)
                places.append(["arena", room, len(body)])
        # Normals are larger than the rooms for maps, and travel in frames.
        nbytes = pixels.map_nbytes(request.reply, *ticket.shape) if request.output == "depth" else None
        maps = 2 if request.ensemble > 1 or request.sparse is not None else 1
        rooms: list[messages.Place | None] = []
        if nbytes is not None:
            rooms += [block.place(at, nbytes) for at in request.maps_at[:maps]] if block is not None else []
            arena = [self._take_room(nbytes, batch) for _ in range(maps - len(rooms))]
            rooms += [None if room is None else ["arena", room, nbytes] for room in arena]
        sparse = None if request.sparse is None else asdict(request.sparse)
        film = None if ticket.film is None else (ticket.client, "/".join(ticket.film))
        return messages.Job(
            shape or (), places, rooms, request.seed, request.reply, sparse, request.trace, film, request.validity
        )

    def bodies(self, done: messages.Done, batch: Batch, frames: list[Any]) -> tuple[list[zmq.Frame], list[int]]:
        """The bodies of a result, and the rooms in which they are, which are the batch's no more."""
        bodies, rooms = [], []
        for name, place in zip(_maps(done.result), done.places, strict=True):
            if place[0] == "frame":
                bodies.append(zmq.Frame(frames[place[1]].buffer, copy=False, track=True))
            elif place[0] == "block":
                done.result[name]["at"] = place[4]
            elif self._arena is not None:
                bodies.append(zmq.Frame(self._arena.view(place[1], place[2]), copy=False, track=True))
                rooms.append(place[1])
        for room in rooms:
            batch.rooms.remove(room)
        return bodies, rooms

    def leaves(self, trackers: Sequence[Any], rooms: Sequence[int], client: str, bodies: Sequence[Any]) -> None:
        """A result is on its way to a client."""
        if bodies:
            self._outgoing.add(trackers, rooms, client, sum(len(body) for body in bodies))

    def _take_room(self, nbytes: int, batch: Batch) -> int | None:
        room = self.take(nbytes)
        if room is not None:
            batch.rooms.append(room)
        return room


def _maps(result: Mapping[str, Any]) -> list[str]:
    """What a result has, in the order of its bodies."""
    return [name for name in ("values", "uncertainty", "validity") if result.get(name) is not None]
