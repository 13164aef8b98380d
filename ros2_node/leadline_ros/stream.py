"""One camera of the node: its topics, its settings, how it fares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode

from leadline.sensors.transforms import TransformTree
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings
from leadline_ros.inputs import CAN_READ_TF, CameraInputs, ImageJob
from leadline_ros.outputs import Outputs
from leadline_ros.situation import Situation
from leadline_ros.tally import Tally


class CameraStream:
    """Everything that a camera has for itself; the model is shared.

    Args:
        node: Owner of the topics.
        name: Of the camera, which its topics stand below; empty for a node with one camera.
        situation: Of the node.
        transforms: The robot's.
        own: Settings of this camera alone.
        on_image: Gets each image.
        on_more: Called when something came that an image may have waited for.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        situation: Situation,
        transforms: TransformTree,
        own: dict[str, Any],
        on_image: Callable[[ImageJob], None],
        on_more: Callable[[], None],
    ) -> None:
        self.name = name
        self.own = own
        self.tally = Tally()
        self.outputs: Outputs | None = None
        self.reset_wanted = threading.Event()
        self._node = node
        self._situation = situation
        self.surroundings = Surroundings(self.note_problem, CAN_READ_TF, transforms, situation.stream_s)
        self.inputs = CameraInputs(
            node, name, self.surroundings, on_image, self.note_problem, self.forget_time, on_more
        )

    @property
    def title(self) -> str:
        """What its words in logs and /diagnostics begin with."""
        return f"{self.name} " if self.name else ""

    def settings(self) -> StreamSettings:
        """Settings in force: the node's, where the camera has none of its own."""
        return self._situation.stream.changed(self.own) if self.own else self._situation.stream

    def note_problem(self, source: str, error: Exception | str) -> None:
        """Count a problem of this camera; log it the first time its kind appears."""
        self._situation.note_problem(self.title + source, error)

    def forget_time(self) -> None:
        """Image time jumped: what was remembered belongs to another time."""
        self.surroundings.forget_time()
        self.reset_wanted.set()

    def any_wanted(self) -> bool:
        """Whether anybody listens to an output that takes the model."""
        return self.outputs is not None and self.outputs.any_wanted()

    def advertise(self) -> None:
        """Create the publishers, and begin to count anew."""
        self.outputs = Outputs(self._node, self.name)
        self.tally = Tally()

    def withdraw(self) -> None:
        """Destroy the publishers."""
        if self.outputs is not None:
            self.outputs.destroy()
        self.outputs = None
