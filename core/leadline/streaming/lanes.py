"""Several frames side by side on the cores of a CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class Lanes:
    """Threads that work on one piece each; together they take the cores that one thread's PyTorch would.

    A network that runs on two cores waits at every layer for the slower one; two networks on a core each wait for nobody. The
    calling thread is one of them, as the memory that it has worked in before is there to be used again.

    Args:
        most: Pieces at once at most; also limited by the cores.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    def map(self, work: Callable[[P], R], pieces: Sequence[P]) -> list[R]:
        """``work`` on every piece, results in order; the first exception is raised when all are done.

        A single piece gets all cores.
        """
        if len(pieces) <= 1:
            return [work(piece) for piece in pieces]
        import torch  # noqa: PLC0415  (loaded already, by the model)

        cores = torch.get_num_threads()
        count = max(1, min(self._most, cores))
        share = max(1, cores // count)
        if self._pool is None and count > 1:
            self._pool = ThreadPoolExecutor(
                count - 1, "leadline-lane", initializer=lambda: torch.set_num_threads(share)
            )
        waiting = deque(enumerate(pieces))
        results: list[Any] = [None] * len(pieces)
        errors: list[BaseException] = []

        def follow() -> None:
            while waiting:
                try:
                    index, piece = waiting.popleft()
                except IndexError:  # another lane was faster
                    return
                try:
                    results[index] = work(piece)
                except BaseException as error:
                    errors.append(error)

        others = [self._pool.submit(follow) for _ in range(count - 1)] if self._pool is not None else []
        torch.set_num_threads(share)
        try:
            follow()
            for other in others:
                other.result()
        finally:
            torch.set_num_threads(cores)
        if errors:
            raise errors[0]
        return results

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
