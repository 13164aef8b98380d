"""What the parts of the node tell each other, so that none of them has to know the node."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from leadline.errors import first_line
from leadline.streaming.buffers import Complaints
from leadline.streaming.problems import kind_of
from leadline.streaming.settings import StreamSettings
from leadline_ros.parameters import NodeSettings


@dataclass
class Situation:
    """Settings and state of the node.

    Attributes:
        stream, node: Settings in force.
        log: The node's logger.
        now_ns: The node's clock.
        stream_s: Seconds of the clock that waiting is measured by.
        stop: Set when the process is asked to end.
        active: Whether the node reads and publishes.
        load_error: Why no model, or not the one asked for, is loaded; empty if it is.
        complaints: Problems by kind.
    """

    stream: StreamSettings
    node: NodeSettings
    log: Any
    now_ns: Callable[[], int]
    stream_s: Callable[[], float]
    stop: threading.Event
    active: bool = False
    load_error: str = ""
    complaints: Complaints = field(default_factory=Complaints)

    def note_problem(self, source: str, error: Exception | str) -> None:
        """Count a problem; log it the first time its kind appears."""
        if self.complaints.note(f"{source}: {kind_of(error)}"):
            self.log.warning(f"{source}: {first_line(error)} (reported once, counted in /diagnostics)")
