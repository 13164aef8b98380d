"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Long enough for a machine whose cores are busy with other work; a test that passes waits only as long as it must.
PATIENCE_S = 90.0


def until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Whether the condition held within the time; it is looked at fifty times a second."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True
