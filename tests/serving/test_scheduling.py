"""Which worker computes what next, on a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

from leadline.serving.protocol.messages import ImageInfo, Limits, Predict
from leadline.serving.server.batching import Batcher, Ticket
from leadline.serving.server.scheduling import Scheduler
from leadline.serving.server.slots import Slot

LOAD_S = 0.5


class House:
    """One worker that has model "a" since 0 s, took half a second to load it and is idle since 1 s."""

    def __init__(self) -> None:
        self.batcher = Batcher(Limits(), max_members=1)
        slot = Slot(0, "cpu", state="idle", models=frozenset("a"), loaded_at=0.0, load_s=LOAD_S, rested_at=1.0)
        pool = SimpleNamespace(
            slots=[slot], idle=lambda: [slot], interruptible=list, memory=SimpleNamespace(slow_readers=frozenset)
        )
        self.scheduler = Scheduler(self.batcher, pool)  # type: ignore[arg-type]

    def ask(self, model: str, at: float) -> None:
        """A client of this model asks."""
        self.batcher.admit(
            Ticket(f"of {model}", Predict("x", ImageInfo("png"), model=model), (64, 64), 100, at, at + 60, ready=True)
        )

    def next(self, now: float) -> str | None:
        """The model of what is computed now."""
        return next((batch[0].request.model for _, batch in self.scheduler.batches(now)), None)


def test_a_worker_waits_a_moment_for_clients_of_the_model_that_it_has() -> None:
    house = House()
    house.ask("b", 0.9)
    assert house.next(1.01) is None
    assert house.scheduler.holding
    house.ask("a", 1.02)
    assert house.next(1.02) == "a"


def test_it_does_not_wait_longer() -> None:
    house = House()
    house.ask("b", 0.9)
    assert house.next(1.06) == "b"
    assert not house.scheduler.holding


def test_it_keeps_to_its_model_for_a_few_loads_and_then_others_have_their_turn() -> None:
    house = House()
    house.ask("b", 0.1)
    house.ask("a", 0.2)
    assert house.next(3.9 * LOAD_S) == "a"
    house.ask("a", 1.95)
    assert house.next(4.1 * LOAD_S) == "b"
