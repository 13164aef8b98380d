"""Reading and writing files beside the work on them: three stages, each a step behind the one before, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from leadline.errors import LeadlineError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items that wait between two stages: enough that neither side stands still, few enough for memory.
ROOM = 1


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A result that needs no further stage."""

    result: Result


def staged(
    items: Iterable[Item],
    read: Callable[[Item], Any],
    work: Callable[[Item, Any], Callable[[], Result] | Done[Result]],
    alone: Callable[[Item], bool] = lambda item: False,
) -> Generator[tuple[Item, Result | LeadlineError], None, None]:
    """Each item with its result, or with the error that one of its stages ended in; in order.

    Any other error ends it all; writing that has begun is finished first.

    Args:
        items: What there is to do.
        read: First stage, in a thread of its own, :data:`ROOM` items ahead: gives what ``work`` takes, or a :class:`Done`.
        work: Second stage, in the thread that iterates; gives the third stage, which another thread runs, or a :class:`Done`.
        alone: Whether an item's work is so long that the results before it should be told first.
    """
    coming = iter(items)
    ahead: deque[tuple[Item, Future[Any]]] = deque()
    behind: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:

        def begin_next() -> None:
            for item in coming:
                ahead.append((item, reader.submit(read, item)))
                if len(ahead) >= ROOM:
                    return

        def told(waiting: int) -> Generator[tuple[Item, Result | LeadlineError], None, None]:
            while len(behind) > waiting or (behind and behind[0][1].done()):
                item, writing = behind.popleft()
                try:
                    yield item, writing.result()
                except LeadlineError as error:
                    yield item, error

        try:
            begin_next()
            while ahead:
                item, reading = ahead.popleft()
                begin_next()
                if alone(item):
                    yield from told(0)
                behind.append((item, _worked(item, reading, work, writer)))
                yield from told(ROOM)
            yield from told(0)
        finally:
            for _, reading in ahead:
                reading.cancel()


def _worked(
    item: Item,
    reading: Future[Any],
    work: Callable[[Item, Any], Callable[[], Result] | Done[Result]],
    writer: ThreadPoolExecutor,
) -> Future[Result]:
    """The second stage of an item, and its third begun."""
    known: Future[Result] = Future()
    try:
        given = reading.result()
        step = given if isinstance(given, Done) else work(item, given)
    except LeadlineError as error:
        known.set_exception(error)
        return known
    if isinstance(step, Done):
        known.set_result(step.result)
        return known
    return writer.submit(step)
