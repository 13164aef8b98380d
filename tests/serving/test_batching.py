from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadline.serving.protocol.arena import Allocator, Arena
from leadline.serving.protocol.messages import ImageInfo, Limits, Predict, WireError
from leadline.serving.server.batching import Batcher, RateLimiter, Ticket, network_megapixels

LIMITS = Limits(queue=1000, queue_per_client=500)


def ticket(client: str, at: float = 0.0, shape: tuple[int, int] = (100, 100), **request: Any) -> Ticket:
    return Ticket(client, Predict("x", ImageInfo("png"), **request), shape, 100, at, at + 60.0)


def drain(batcher: Batcher, now: float = 100.0) -> list[list[Ticket]]:
    batches = []
    while batch := batcher.next_batch(now):
        batches.append(batch)
        for one in batch:
            batcher.remove(one)
    return batches


def test_same_kind_goes_together_up_to_the_limit() -> None:
    batcher = Batcher(LIMITS, max_members=4)
    for _ in range(6):
        batcher.admit(ticket("a", ensemble=2))
    batcher.admit(ticket("a", ensemble=1))
    batcher.admit(ticket("a", ensemble=2, shape=(50, 50)))
    batcher.admit(ticket("a", ensemble=9))
    assert [(len(b), b[0].request.ensemble, b[0].shape[0]) for b in drain(batcher)] == [
        (2, 2, 100), (2, 2, 100), (2, 2, 100), (1, 1, 100), (1, 2, 50), (1, 9, 100),
    ]  # fmt: skip


def test_a_flood_does_not_delay_a_trickle() -> None:
    batcher = Batcher(LIMITS, max_members=1)
    for i in range(50):
        batcher.admit(ticket("flood", at=i * 0.01))
    drained = [batcher.next_batch(1.0)[0].client for _ in range(5)]
    batcher.admit(ticket("trickle", at=1.0))
    drained += [batcher.next_batch(1.0)[0].client for _ in range(2)]
    assert drained[:5] == ["flood"] * 5
    assert "trickle" in drained[5:]


def test_shares_are_by_cost_not_by_count() -> None:
    batcher = Batcher(LIMITS, max_members=1)
    for _ in range(100):
        batcher.admit(ticket("dear", ensemble=4))
        batcher.admit(ticket("cheap", ensemble=1))
    served = Counter(batcher.next_batch(1.0)[0].client for _ in range(50))
    ratio = ticket("dear", ensemble=4).cost / ticket("cheap").cost
    assert 3.8 < ratio < 4.0  # the image itself costs, too
    assert served["cheap"] == pytest.approx(ratio * served["dear"], abs=4)


def test_company_in_a_batch_is_shared_between_clients() -> None:
    batcher = Batcher(LIMITS, max_members=4)
    for client in "abc":
        for _ in range(4):
            batcher.admit(ticket(client))
    assert {t.client for t in batcher.next_batch(1.0)} == {"a", "b", "c"}


def test_detail_is_a_kind_of_its_own_and_tiles_count_as_their_work() -> None:
    batcher = Batcher(LIMITS, max_members=4)
    for detail in ("off", "edges", "off", "tiles"):
        batcher.admit(ticket("a", detail=detail))
    assert sorted(len(batch) for batch in drain(batcher)) == [1, 1, 2]
    assert ticket("a", detail="tiles").work == pytest.approx(10 * ticket("a", detail="edges").work)


def test_one_client_does_not_wait_for_company_and_two_do() -> None:
    batcher = Batcher(LIMITS, window_s=0.01)
    batcher.admit(ticket("a", at=5.0))
    assert batcher.ready_at(5.0) == 5.0
    assert len(batcher.next_batch(5.0)) == 1
    batcher.admit(ticket("b", at=5.1))
    assert batcher.next_batch(5.1) == []
    assert batcher.ready_at(5.1) == pytest.approx(5.11)
    batcher.admit(ticket("a", at=5.105))
    assert len(batcher.next_batch(5.111)) == 2


def test_only_the_newest_of_a_stream_waits() -> None:
    batcher = Batcher(LIMITS)
    first, second = ticket("a", latest="camera"), ticket("a", latest="camera")
    others = [ticket("b", latest="camera"), ticket("a", latest="other"), ticket("a")]
    assert batcher.admit(first) == []
    for other in others:
        assert batcher.admit(other) == []
    assert batcher.admit(second) == [first]
    assert batcher.waiting() == [*others, second]


def test_full_means_busy_and_room_means_not() -> None:
    batcher = Batcher(Limits(queue=3, queue_per_client=2, queue_bytes=1000))
    mine = [ticket("a"), ticket("a")]
    for one in mine:
        batcher.admit(one)
    with pytest.raises(WireError, match="your share") as caught:
        batcher.admit(ticket("a"))
    assert caught.value.code == "busy"
    batcher.admit(ticket("b"))
    with pytest.raises(WireError, match="the queue is full"):
        batcher.admit(ticket("b"))
    started = batcher.next_batch(1.0)
    assert started
    with pytest.raises(WireError, match="your share"):  # what runs still counts
        batcher.admit(ticket("a"))
    for one in started:
        batcher.remove(one)
    batcher.admit(ticket("a"))


def test_a_full_queue_makes_room_for_who_has_less_in_it() -> None:
    batcher = Batcher(Limits(queue=4, queue_per_client=4))
    greedy = [ticket("greedy") for _ in range(4)]
    for one in greedy:
        batcher.admit(one)
    batcher.admit(ticket("modest"))
    assert batcher.evicted == [greedy[-1]]
    assert len(batcher) == 4
    batcher.admit(ticket("modest"))
    with pytest.raises(WireError, match="the queue is full"):  # two each: nobody has more than the other
        batcher.admit(ticket("modest"))


def test_large_images_do_not_share_a_batch_and_small_ones_do() -> None:
    batcher = Batcher(LIMITS, max_members=16, max_megapixels=16.0)
    for _ in range(4):
        batcher.admit(ticket("a", shape=(4000, 8000)))
    for _ in range(4):
        batcher.admit(ticket("b", shape=(1000, 4000)))
    assert sorted(len(batch) for batch in drain(batcher)) == [1, 1, 1, 1, 4]


def test_work_is_counted_where_the_network_does_it() -> None:
    assert network_megapixels((1000, 2000), None, 768) == pytest.approx(0.768 * 0.384)
    assert network_megapixels((1000, 2000), 0, 768) == pytest.approx(2.0)
    assert network_megapixels((48, 64), 2048, 768) == pytest.approx(2.048 * 1.536)


def test_images_wait_for_their_pixels_and_are_decoded_in_turn() -> None:
    batcher = Batcher(LIMITS)
    first, second = ticket("a"), ticket("b")
    for one in (first, second):
        one.ready = False
        batcher.admit(one)
    assert batcher.next_batch(100.0) == []
    assert batcher.next_undecoded(set()) is first
    assert batcher.next_undecoded({"a"}) is second
    batcher.charge("a", 1.0)  # its last picture was a bad one
    assert batcher.next_undecoded(set()) is second
    second.ready = True
    assert batcher.next_batch(100.0) == [second]


def test_bytes_are_bounded() -> None:
    batcher = Batcher(Limits(queue_bytes=250))
    batcher.admit(ticket("a"))
    batcher.admit(ticket("b"))
    with pytest.raises(WireError, match="memory"):
        batcher.admit(ticket("c"))


def test_what_lost_its_worker_goes_first_and_alone() -> None:
    batcher = Batcher(LIMITS)
    for client in "aab":
        batcher.admit(ticket(client))
    lost = batcher.next_batch(1.0)
    for one in lost:
        one.attempts = 1
    batcher.put_back(lost)
    batcher.admit(ticket("c"))
    assert [len(batch) for batch in drain(batcher)][:3] == [1, 1, 1]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 8), st.sampled_from([10, 20])), max_size=60),
    st.integers(1, 16),
)
def test_everything_admitted_comes_out_once(wanted: list[tuple[str, int, int]], most: int) -> None:
    batcher = Batcher(LIMITS, max_members=most)
    tickets = [ticket(client, ensemble=e, shape=(size, size)) for client, e, size in wanted]
    for one in tickets:
        batcher.admit(one)
    batches = drain(batcher)
    out = [one for batch in batches for one in batch]
    assert len(out) == len(tickets)
    assert {id(one) for one in out} == {id(one) for one in tickets}
    for batch in batches:
        assert len({one.kind for one in batch}) == 1
        assert len(batch) == 1 or sum(one.request.ensemble for one in batch) <= most
    assert len(batcher) == 0


def test_rates_are_bounded_and_recover() -> None:
    rates = RateLimiter(10.0, burst=5)
    assert sum(rates.allows("a", 0.0) for _ in range(20)) == 5
    assert rates.allows("b", 0.0)
    assert sum(rates.allows("a", 0.25) for _ in range(20)) == 2
    rates.forget(10.0)
    assert not rates._buckets


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50_000)), max_size=80))
def test_places_never_overlap_and_all_come_back(steps: list[tuple[bool, int]]) -> None:
    size = 40 * Allocator.ALIGNMENT
    allocator = Allocator(size)
    held: list[tuple[int, int]] = []
    for take, amount in steps:
        if take:
            place = allocator.take(amount)
            if place is not None:
                assert 0 <= place <= size - amount
                assert all(place + amount <= start or start + length <= place for start, length in held)
                held.append((place, amount))
        elif held:
            allocator.give_back(held.pop(amount % len(held))[0])
    for start, _ in held:
        allocator.give_back(start)
    assert allocator.take(size) == 0


def test_shared_memory_is_shared() -> None:
    arena = Arena.create(1 << 20)
    if arena is None:
        pytest.skip("no anonymous shared memory on this system")
    arena.view(4096, 5)[:] = b"depth"
    assert bytes(Arena(arena.descriptor, arena.size).view(4096, 5)) == b"depth"
