"""Which core does what: long rows of numbers are cut into blocks, and a core does all operations of a block.

PyTorch hands every single operation to all cores and waits for the last one. Where hundreds of short operations follow each
other, that waiting costs more than the other cores bring. So completion runs in a thread in which PyTorch uses one core
(:func:`on_one_core`), and what is long is cut into blocks for all of them (:func:`by_blocks`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

from leadline.inference.allocator import keep_large_blocks

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Completions of one process that run beside each other; further ones wait.
_COMPLETIONS = 16
_here = threading.local()


def cores() -> int:
    """Cores for the blocks of this thread's work."""
    return getattr(_here, "cores", None) or torch.get_num_threads()


def on_one_core(work: Callable[[], Result]) -> Result:
    """``work()``, in a thread in which PyTorch uses one core; its blocks may use all that PyTorch uses here."""
    number = cores()
    if number == 1:
        return work()

    _pool("leadline-blocks", number, os.getpid())  # begun here, where PyTorch uses all cores

    def inside() -> Result:
        _here.cores = number
        return work()

    return _pool("leadline-completion", _COMPLETIONS, os.getpid()).submit(inside).result()


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> list[Result]:
    """``work`` of every item, in order; on the processor several at once."""
    if len(items) == 1 or device.type != "cpu" or cores() == 1:
        return [work(item) for item in items]
    return list(_pool("leadline-blocks", cores(), os.getpid()).map(work, items))


def beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin ``work`` on another core, if there is one; what comes back waits for its result."""
    if cores() == 1:
        return work
    begun: Future[Result] = _pool("leadline-blocks", cores(), os.getpid()).submit(work)
    return begun.result


def by_blocks(
    work: Callable[[slice], Result], length: int, device: torch.device, least: int, at_once: int
) -> list[Result]:
    """What ``work`` makes of each block of ``range(length)``, in order.

    Args:
        work: Gets a slice of at least one number.
        length: At least 1.
        device: Off the processor blocks follow each other.
        least: Shorter blocks are not worth another thread.
        at_once: Longest block: bounds the memory.
    """
    threads = max(1, min(cores(), length // least)) if device.type == "cpu" else 1
    count = min(-(-max(-(-length // at_once), 1) // threads) * threads, length)
    ends = [length * i // count for i in range(count + 1)]
    return side_by_side(work, [slice(*both) for both in pairwise(ends)], device)


@cache
def _pool(name: str, threads: int, _process: int) -> ThreadPoolExecutor:
    """Threads of this process (a fork has none of its parent's) in each of which PyTorch uses one core."""
    all_there = threading.Barrier(threads)

    def begin() -> None:
        torch.get_num_threads()  # the first question sets this thread's number to everybody's
        torch.set_num_threads(1)  # of this thread, and of those that are yet to come
        all_there.wait()

    keep_large_blocks()  # what is computed on the way would else be mapped, and faulted in, anew every time
    everywhere = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, name, begin)
    for begun in [pool.submit(lambda: None) for _ in range(threads)]:
        begun.result()
    torch.set_num_threads(everywhere)
    return pool
