"""Reading, working and writing side by side: order, errors, bounds, interruption."""

from __future__ import annotations

import threading

import pytest

from leadline.errors import InputError, LeadlineError
from leadline.files.stages import ROOM, Done, staged

WAIT_S = 30.0


def test_results_in_order_each_stage_in_its_thread():
    threads: dict[str, set[str]] = {"read": set(), "work": set(), "write": set()}

    def here(stage):
        threads[stage].add(threading.current_thread().name)

    def read(item):
        here("read")
        return item * 10

    def work(item, given):
        here("work")

        def write():
            here("write")
            return given + item

        return write

    assert list(staged(range(20), read, work)) == [(item, 11 * item) for item in range(20)]
    assert [len(names) for names in threads.values()] == [1, 1, 1]
    assert len(set.union(*threads.values())) == 3


def test_the_next_is_read_and_the_last_written_while_one_is_worked_on():
    """Each stage of the middle item waits for its neighbours' other stages, which must therefore run beside it."""
    read_next, worked = threading.Event(), threading.Event()

    def read(item):
        if item == 2:
            read_next.set()
        return item

    def work(item, given):
        if item == 1:
            assert read_next.wait(WAIT_S)
            worked.set()

        def write():
            if item == 0:
                assert worked.wait(WAIT_S)
            return item

        return write

    assert [result for _, result in staged(range(3), read, work)] == [0, 1, 2]


def test_no_further_ahead_than_there_is_room():
    begun, told = [], []

    def read(item):
        begun.append(item)
        return item

    def work(item, given):
        assert max(begun) <= item + ROOM
        assert item - len(told) <= 2 * ROOM
        return lambda: given

    for item, _ in staged(range(30), read, work):
        told.append(item)
    assert told == list(range(30))


def test_an_error_of_one_item_is_its_result():
    def read(item):
        if item == 1:
            raise InputError("read")
        return Done("early") if item == 2 else item

    def work(item, given):
        if item == 3:
            raise InputError("work")
        if item == 4:
            return Done("worked")

        def write():
            if item == 5:
                raise LeadlineError("write")
            return "written"

        return write

    results = [str(result) for _, result in staged(range(7), read, work)]
    assert results == ["written", "read", "early", "work", "worked", "write", "written"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_lets_writing_end_and_reads_no_more(error):
    begun, written, go = [], [], threading.Event()

    def read(item):
        begun.append(item)
        return item

    def work(item, given):
        if item == 1:
            go.set()
            raise error

        def write():
            assert go.wait(WAIT_S)  # still at it when the interruption comes
            written.append(item)

        return write

    with pytest.raises(error):
        list(staged(range(50), read, work))
    assert written == [0]
    assert len(begun) <= 2 + ROOM


def test_results_are_told_before_long_work():
    told = []

    def work(item, given):
        if item == "film":
            assert told == ["a", "b"]
        return lambda: None

    for item, _ in staged(["a", "b", "film", "c"], lambda item: item, work, alone=lambda item: item == "film"):
        told.append(item)
    assert told == ["a", "b", "film", "c"]
