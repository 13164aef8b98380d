"""Many short operations as one call that does not hold Python's lock.

Two threads that each run short operations wait for Python's lock between any two of them: on two cores that costs half of what the
second one brings. A recorded (traced) function holds it only when it begins and ends.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from leadline.completion.tuned import TRACED

Made = tuple[Tensor, ...]


class Traced:
    """Functions of tensors, each recorded once it has been called often enough that a stream seems to call it."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def of(self, key: Hashable, function: Callable[..., Made], example: Callable[[], Made]) -> Callable[..., Made]:
        """``function``, or the record of it.

        Args:
            key: All that the function does depends on this and on its arguments' values and lengths.
            function: Of tensors, without decisions that depend on them.
            example: Small arguments.
        """
        with self._lock:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= TRACED.calls:
                return function
            if key not in self._recorded:
                if len(self._recorded) >= TRACED.kept:
                    self._recorded.pop(next(iter(self._recorded)))
                self._recorded[key] = _recorded(function, example())
            return self._recorded[key]


def _recorded(function: Callable[..., Made], example: Made) -> Any:
    def named(*given: Tensor) -> Made:  # tracing asks for a function's name, and a partial has none
        return function(*given)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that become constants: they are part of the key
        return torch.jit.trace(named, example, check_trace=False)
