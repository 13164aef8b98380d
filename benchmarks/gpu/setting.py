"""Where the parts of the kit run, and how much of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Part = Callable[["Setting"], dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """Where it runs, and how much of it."""

    device: str
    dry: bool

    @property
    def size(self) -> int:
        return 64 if self.dry else 512

    @property
    def repeat(self) -> int:
        return 1 if self.dry else 20

    def picture(self, height: int, width: int) -> np.ndarray:
        return np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype=np.uint8)

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def median_s(self, call: Callable[[], Any], repeat: int | None = None) -> float:
        """Of some calls, after three to warm up."""
        seconds = []
        for turn in range((1 if self.dry else 3) + (repeat or self.repeat)):
            self.wait()
            started = time.perf_counter()
            call()
            self.wait()
            if turn >= (1 if self.dry else 3):
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)
