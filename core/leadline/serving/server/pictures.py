"""Which encoded image is decoded next, and where its pixels wait for a worker."""

from __future__ import annotations

from collections import Counter

from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.decoders import Decoders, Picture
from leadline.serving.server.memory import Memory
from leadline.serving.server.tuned import PICTURES


class Pictures:
    """Has encoded images decoded: for each client in turn, and never all decoders for one.

    Args:
        batcher: Whose turn it is.
        decoders: Do it.
        memory: Where the pixels go.
    """

    def __init__(self, batcher: Batcher, decoders: Decoders, memory: Memory) -> None:
        self._batcher, self._decoders, self._memory = batcher, decoders, memory
        self._held: Counter[str] = Counter()
        self._barred: dict[str, float] = {}

    def start(self) -> None:
        """Give decoders that are free something to do."""
        while self._decoders.free and self._batcher.has_undecoded():
            ticket = self._batcher.next_undecoded(self._not_now())
            if ticket is None or not self._begin(ticket):
                return

    def finished(self, now: float) -> list[tuple[Ticket, Picture]]:
        """Tickets whose image was decoded, or was not. A bad picture costs its client what it took."""
        done = []
        for picture in self._decoders.finished():
            ticket: Ticket = picture.owner
            if picture.error and picture.seconds > PICTURES.long_decode_s:
                self._barred[ticket.client] = now + PICTURES.penalty * picture.seconds
                self._batcher.charge(ticket.client, ticket.cost)
            if ticket.pixels is None:  # let go meanwhile
                self._give_back(ticket, picture)
            else:
                done.append((ticket, picture))
        return done

    def let_go(self, ticket: Ticket) -> None:
        """A ticket's pixels are not needed any more."""
        picture, ticket.pixels = ticket.pixels, None
        if picture is not None and picture not in self._decoders.busy:  # else a decoder may still write there
            self._give_back(ticket, picture)

    def forgive(self, now: float) -> None:
        """Clients whose bad pictures are paid for get their turn again."""
        self._barred = {client: until for client, until in self._barred.items() if until > now}

    def _not_now(self) -> set[str]:
        share = max(1, self._decoders.count - 1)
        at_it = Counter(picture.owner.client for picture in self._decoders.busy)
        barred = {client for client, number in at_it.items() if number >= share}
        return (
            barred
            | {client for client, held in self._held.items() if held > PICTURES.decoded_bytes // 2}
            | set(self._barred)
        )

    def _begin(self, ticket: Ticket) -> bool:
        nbytes = 3 * ticket.shape[0] * ticket.shape[1]
        held = self._held.total()
        if held and held + nbytes > PICTURES.decoded_bytes:
            return False
        place = self._memory.take(nbytes)  # without room, the pixels come through a pipe
        room = None if place is None else (place, nbytes)
        ticket.pixels = Picture(ticket, ticket.data.bodies[0].buffer, ticket.image_megapixels, room, nbytes)
        self._held[ticket.client] += nbytes
        self._decoders.start(ticket.pixels)
        return True

    def _give_back(self, ticket: Ticket, picture: Picture) -> None:
        self._held[ticket.client] -= picture.nbytes
        if not self._held[ticket.client]:
            del self._held[ticket.client]
        if picture.room is not None:
            self._memory.give_back(picture.room[0])
