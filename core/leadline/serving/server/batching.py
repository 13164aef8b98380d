"""Who is next: bounded queue, fairness between clients, batches, newest-only streams, deadlines. No sockets, no clock.

Fairness is start-time fair queueing: every client has a virtual time that advances by the cost of what was started for
it, and the client that lags most goes first. One that was idle starts at the present, so nobody saves up turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from leadline.serving.protocol.messages import EVERYBODY, Limits, Predict, Quota, WireError
from leadline.serving.server.decoders import Picture
from leadline.serving.server.lender import Block
from leadline.serving.server.tuned import WORK


@dataclass(eq=False)
class Ticket:
    """A ``predict`` request inside the server.

    Attributes:
        client: Whose it is, for fairness and limits.
        request: With model and deadline filled in.
        shape: (H, W) of the image.
        nbytes: Of the bodies.
        arrived: When, on the server's clock.
        deadline: When nobody cares any more.
        attempts: Workers that died with it.
        block: Lent memory that it uses; kept for as long as the ticket is.
        data: The server's own.
        megapixels: That go through the network for each member and step; None: the image's.
        ready: Whether its pixels are there; an encoded image has to be decoded first.
        pixels: The decoded image.
        film: Whose frame it is: client and film, for frames that are held still.
        home: The worker that has the film so far; None: any may begin it.
    """

    client: str
    request: Predict
    shape: tuple[int, int]
    nbytes: int
    arrived: float
    deadline: float
    attempts: int = 0
    block: Block | None = None
    data: Any = None
    megapixels: float | None = None
    ready: bool = True
    pixels: Picture | None = None
    film: tuple[str, str] | None = None
    home: str | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Tickets of one kind can share a batch."""
        r = self.request
        return r.model, r.steps, r.ensemble, r.size, r.detail, r.output, self.shape, self.home

    @property
    def image_megapixels(self) -> float:
        """Of the image itself."""
        return self.shape[0] * self.shape[1] / 1e6

    @property
    def work(self) -> float:
        """Megapixels that one step computes."""
        looks = WORK.tiles if self.request.detail == "tiles" else 1
        return looks * self.request.ensemble * (self.image_megapixels if self.megapixels is None else self.megapixels)

    @property
    def cost(self) -> float:
        """Roughly proportional to the worker's time."""
        share = WORK.image_share + (WORK.steady_share if self.film is not None else 0.0)
        return self.work * max(self.request.steps or 1, 1) + share * self.image_megapixels


def network_megapixels(shape: tuple[int, int], size: int | None, default_size: int) -> float:
    """Megapixels that go through the network for an image (H, W) whose long edge is made ``size`` (0: left alone)."""
    height, width = shape
    long_px = size if size is not None else default_size
    scale = long_px / max(height, width) if long_px else 1.0
    return height * width * scale * scale / 1e6


@dataclass
class Batcher:
    """The queue.

    Args:
        limits: How much may wait.
        max_members: Images times ensemble size in one batch. One request may be larger by itself.
        max_megapixels: Most that one step of a batch computes, and most that its images have; also but for one request.
        quota: What a client may take.
        window_s: How long a batch that is not full waits for company, if several clients are about.
    """

    limits: Limits
    max_members: int = 16
    window_s: float = 0.004
    max_megapixels: float = 16.0
    #: Clients that have as many workers as they may; their tickets wait.
    full: frozenset[str] = frozenset()
    #: Workers that are at something; frames of the films that they have wait for them.
    away: frozenset[str] = frozenset()
    quota: Callable[[str], Quota] = lambda client: EVERYBODY
    #: Tickets that had to make room for a client with less in the queue; whoever admits takes them away.
    evicted: list[Ticket] = field(default_factory=list)
    _waiting: list[Ticket] = field(default_factory=list)
    _in_hand: Counter[str] = field(default_factory=Counter)
    _virtual: dict[str, float] = field(default_factory=dict)
    _seen: dict[str, float] = field(default_factory=dict)
    _present: float = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the bodies that wait."""
        return sum(ticket.nbytes for ticket in self._waiting)

    def admit(self, ticket: Ticket) -> list[Ticket]:
        """Take a ticket into the queue.

        Returns:
            The tickets of the same stream that it replaces.

        Raises:
            WireError: With code ``busy``.
        """
        replaced = [
            old
            for old in self._waiting
            if ticket.request.latest is not None
            and old.request.latest == ticket.request.latest
            and old.client == ticket.client
        ]
        in_hand = self._in_hand[ticket.client] - len(replaced)
        share = self.quota(ticket.client).queue or self.limits.queue_per_client
        if len(self._waiting) - len(replaced) >= self.limits.queue and in_hand < share:
            self._make_room(in_hand)
        for now, most, what in (
            (in_hand, share, "your share of the queue"),
            (len(self._waiting) - len(replaced), self.limits.queue, "the queue"),
            (self.nbytes + ticket.nbytes, self.limits.queue_bytes, "the server's memory for waiting images"),
        ):
            if now >= most:
                raise WireError(f"{what} is full; try again later", code="busy", id=ticket.request.id)
        for old in replaced:
            self.remove(old)
        self._waiting.append(ticket)
        self._in_hand[ticket.client] += 1
        self._seen[ticket.client] = ticket.arrived
        self._virtual[ticket.client] = max(self._virtual.get(ticket.client, 0.0), self._present)
        return replaced

    def _make_room(self, in_hand: int) -> None:
        """The queue is full: the client with most in it loses its newest ticket to one that would still have less."""
        waiting = Counter(ticket.client for ticket in self._waiting if ticket.attempts == 0)
        if not waiting:
            return
        greedy, number = waiting.most_common(1)[0]
        if number > in_hand + 1:
            newest = next(t for t in reversed(self._waiting) if t.client == greedy and t.attempts == 0)
            self.remove(newest)
            self.evicted.append(newest)

    def charge(self, client: str, cost: float) -> None:
        """A client's turn comes later by this much work."""
        paid = self._virtual.get(client, self._present)
        self._virtual[client] = paid + cost / max(1e-3, self.quota(client).share)

    def put_back(self, tickets: Iterable[Ticket]) -> None:
        """Tickets whose worker died go to the front of the queue; they still count as in hand."""
        self._waiting[:0] = tickets

    def remove(self, ticket: Ticket) -> None:
        """A ticket has its outcome, whether it waited or ran."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._in_hand[ticket.client] -= 1
        if self._in_hand[ticket.client] <= 0:
            del self._in_hand[ticket.client]

    def position(self, ticket: Ticket) -> int:
        """Tickets ahead of a waiting one, by arrival."""
        return self._waiting.index(ticket)

    def ready_at(self, now: float) -> float | None:
        """When :meth:`next_batch` will have something: now, after the window, or never (None)."""
        batch = self._pick(None)
        if not batch:
            return None
        if self._is_full(batch) or not self._company(now):
            return now
        return min(ticket.arrived for ticket in batch) + self.window_s

    def next_batch(self, now: float, warm: frozenset[str] | None = None) -> list[Ticket]:
        """Take the next batch out of the queue; empty if there is none yet.

        Args:
            now: The time.
            warm: If given, only tickets for these models; for a worker that should not load another one.
        """
        if warm is None:
            ready = self.ready_at(now)
            if ready is None or now < ready:
                return []
        return self._taken(self._pick(warm), now)

    def small_batch(
        self, now: float, warm: Container[str | None], than: Container[str], cost: float, worker: str = ""
    ) -> list[Ticket]:
        """Take a batch for which a large one is interrupted; empty if there is none.

        Args:
            now: The time.
            warm: Models that it may ask for.
            than: Whose the large one is: nobody goes before himself.
            cost: Most that it costs, all together.
            worker: Who would compute it.
        """
        choice = _in_order(
            self._waiting,
            lambda t: t.ready and t.client not in than and t.client not in self.full and t.request.model in warm and not t.attempts and t.cost <= cost
            and t.home in (None, worker),
        )  # fmt: skip
        if not choice:
            return []
        leader = min(choice, key=lambda t: self._virtual.get(t.client, 0.0))
        alike = _in_order(choice, lambda t: t.kind == leader.kind)
        return self._taken(alike[: max(1, min(self._most(leader), int(cost / leader.cost)))], now)

    def _taken(self, batch: list[Ticket], now: float) -> list[Ticket]:
        for ticket in batch:
            self._waiting.remove(ticket)
            self.charge(ticket.client, ticket.cost)
        self._forget(now)
        return batch

    def others(self, client: str, now: float) -> bool:
        """Whether other clients have asked for something lately."""
        return any(now - seen < WORK.lately_s for other, seen in self._seen.items() if other != client)

    def number_about(self, now: float) -> int:
        """Clients that have asked for something lately."""
        return sum(now - seen < WORK.lately_s for seen in self._seen.values())

    def leader(self) -> Ticket | None:
        """Whose turn it is."""
        return next(iter(self._pick(None)), None)

    def has_undecoded(self) -> bool:
        """Whether an image waits to be decoded."""
        return any(not ticket.ready and ticket.pixels is None for ticket in self._waiting)

    def next_undecoded(self, barred: Container[str]) -> Ticket | None:
        """The ticket whose image should be decoded next, of clients that are not barred."""
        choice = [t for t in self._waiting if not t.ready and t.pixels is None and t.client not in barred]
        return min(choice, key=lambda t: self._virtual.get(t.client, 0.0), default=None)

    def waiting(self) -> list[Ticket]:
        """All waiting tickets by arrival."""
        return list(self._waiting)

    def _pick(self, warm: frozenset[str] | None) -> list[Ticket]:
        choice = _in_order(
            self._waiting,
            lambda t: t.ready and t.client not in self.full and (warm is None or t.request.model in warm)
            and t.home not in self.away,
        )  # fmt: skip
        if not choice:
            return []
        leader = min(choice, key=lambda t: self._virtual.get(t.client, 0.0))  # the first of equals: by arrival
        self._present = max(self._present, self._virtual.get(leader.client, 0.0))
        if leader.attempts > 0:
            return [leader]  # it may have been what killed its worker: nobody else goes with it
        if len(choice) == 1:
            return choice
        turn: Counter[str] = Counter()
        ranked = []
        for ticket in _in_order(choice, lambda t: t.kind == leader.kind and t.attempts == 0):
            ranked.append((ticket is not leader, turn[ticket.client], self._virtual.get(ticket.client, 0.0), ticket))
            turn[ticket.client] += 1
        ranked.sort(key=lambda entry: entry[:3])
        return [ticket for *_, ticket in ranked[: self._most(leader)]]

    def _most(self, ticket: Ticket) -> int:
        """Tickets of this kind in a batch."""
        largest = max(ticket.work, ticket.image_megapixels)
        return max(1, min(self.max_members // ticket.request.ensemble, int(self.max_megapixels / max(largest, 1e-6))))

    def _is_full(self, batch: list[Ticket]) -> bool:
        return len(batch) >= self._most(batch[0]) or batch[0].attempts > 0

    def _company(self, now: float) -> bool:
        return sum(now - seen < 1.0 for seen in self._seen.values()) > 1

    def _forget(self, now: float) -> None:
        """Drop what is known of clients that have nothing here and would start at the present anyway."""
        for client in [c for c, v in self._virtual.items() if v <= self._present and c not in self._in_hand]:
            del self._virtual[client]
        for client in [c for c, seen in self._seen.items() if now - seen > WORK.lately_s]:
            del self._seen[client]
            if client not in self._in_hand:
                self._virtual.pop(client, None)


def _in_order(tickets: Iterable[Ticket], may: Callable[[Ticket], bool]) -> list[Ticket]:
    """Those that may, without frames of a film before which one comes that may not."""
    chosen, held = [], set()
    for ticket in tickets:
        if ticket.film is not None and ticket.film in held:
            continue
        if may(ticket):
            chosen.append(ticket)
        elif ticket.film is not None:
            held.add(ticket.film)
    return chosen


@dataclass
class RateLimiter:
    """One token bucket per client."""

    rate_per_s: float
    burst: int
    quota: Callable[[str], Quota] = lambda client: EVERYBODY
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allows(self, client: str, now: float) -> bool:
        """Whether this client may send one more message now."""
        tokens, since = self._buckets.get(client, (float(self.burst), now))
        rate_per_s = self.quota(client).rate_per_s or self.rate_per_s
        tokens = min(float(self.burst), tokens + (now - since) * rate_per_s)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - allowed, now)
        return allowed

    def charge(self, client: str, tokens: float) -> None:
        """Take more for a message that was allowed."""
        left, since = self._buckets.get(client, (float(self.burst), 0.0))
        self._buckets[client] = (left - min(tokens, self.burst / 10), since)

    def forget(self, now: float) -> None:
        """Drop the buckets that are full again."""
        full_after_s = self.burst / self.rate_per_s
        for client in [c for c, (_, since) in self._buckets.items() if now - since > full_after_s]:
            del self._buckets[client]
