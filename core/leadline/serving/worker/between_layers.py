"""A word between the layers of a network that computes for long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Not more often than this, seconds.
EVERY_S = 0.02


@contextmanager
def between_layers(action: Callable[[], None]) -> Iterator[None]:
    """Do something between the layers of whatever torch network this thread runs meanwhile; what it raises ends the network.

    A layer of the largest pictures takes tenths of a second, a step of them many seconds. Not while ``action`` itself runs
    a network, and not for compiled networks, whose layers are one.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    thread, last, acting = threading.get_ident(), time.monotonic(), False

    def look(module: Any, given: Any) -> None:
        nonlocal last, acting
        if acting or threading.get_ident() != thread or time.monotonic() - last < EVERY_S:
            return
        acting = True
        try:
            action()
        finally:
            last, acting = time.monotonic(), False

    handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()
