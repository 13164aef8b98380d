"""One image message through the pipeline to the outputs; runs in the worker's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from leadline.errors import Cancelled, InputError
from leadline.streaming.buffers import RateMeter, Window
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.ros.messages import rgb_of, stamp_ns
from leadline.streaming.settings import StreamSettings
from leadline_ros.inputs import ImageJob
from leadline_ros.messages import rgb_through_cv_bridge

if TYPE_CHECKING:
    from leadline_ros.node import DepthNode


class Engine:
    """Converts, runs, publishes and measures.

    Raises:
        InputError: cv_bridge is asked for and cannot be used.
    """

    def __init__(self, node: DepthNode) -> None:
        self._node = node
        self._to_rgb = rgb_through_cv_bridge() if node.node_settings.use_cv_bridge else rgb_of
        self._reset_wanted = threading.Event()
        self._fingerprint = b""
        self.unchanged_since_s = monotonic()
        self.processed = 0
        self.failed = 0
        self.failing = ""  # what the last frame failed of; empty after a good one
        self.output_rate = RateMeter()
        self.latency_s = Window()  # from the image's arrival to its depth being published
        self.model_s = Window()
        self.completion_s = Window()
        self.overhead_s = Window()  # everything else
        self.age_s = Window()  # from the image's stamp to its depth being published; needs a shared clock
        self.evidence = ""
        self.not_metric = ""
        self._explained: set[str] = set()

    def request_reset(self) -> None:
        """Forget temporal state before the next frame."""
        self._reset_wanted.set()

    def note_failure(self, error: Exception) -> None:
        self.failed += 1
        self.failing = str(error).strip() or type(error).__name__

    def loader(self, settings: StreamSettings) -> Callable[[], DepthPipeline]:
        """What loads the model of ``settings`` and warms it up, for :meth:`StreamWorker.load`."""

        def load() -> DepthPipeline:
            started = monotonic()
            pipeline = DepthPipeline.load(settings)
            pipeline.warm_up(settings)
            self._node.load_error = ""
            estimator = pipeline.estimator
            self._node.get_logger().info(
                f"loaded {estimator.name} on {estimator.devices[0]} in {monotonic() - started:.1f} s"
            )
            return pipeline

        return load

    def process(self, pipeline: DepthPipeline, job: ImageJob) -> None:
        """Depth of one image, published."""
        node, outputs = self._node, self._node.outputs
        if outputs is None:
            return
        settings = node.stream_settings
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            pipeline.reset()
        started = monotonic()
        header = job.message.header
        rgb = self._to_rgb(job.message)
        self._watch_change(rgb)
        surroundings = node.inputs.surroundings
        info = surroundings.info_for(rgb)
        frame = surroundings.frame(header, rgb, info, settings)
        result = pipeline.process(frame, settings, self._stop_when_asked)
        if not node.active:  # deactivated while the model worked
            return
        published = outputs.publish(header, rgb, info, result, settings, node.node_settings)
        ended = monotonic()

        for problem in published.problems:
            node.note_problem("output", InputError(problem))
        self.evidence, self.not_metric = result.evidence, result.reason
        if result.reason and result.reason not in self._explained:
            self._explained.add(result.reason)
            node.get_logger().warning(f"publishing on depth/relative, not on depth: {result.reason}")
        self.processed += 1
        self.failing = ""
        self.output_rate.tick(ended)
        self.latency_s.add(ended - job.received_s)
        self.model_s.add(result.model_s)
        self.completion_s.add(result.completion_s)
        self.overhead_s.add(ended - started - result.model_s - result.completion_s)
        self.age_s.add((node.get_clock().now().nanoseconds - stamp_ns(header)) * 1e-9)

    def _stop_when_asked(self, stage: str, fraction: float) -> None:
        worker = self._node.worker
        if self._node.stop.is_set() or worker is None or worker.stopping:
            raise Cancelled("the node is stopping")

    def _watch_change(self, rgb: Any) -> None:
        """A live sensor never repeats itself bit by bit; a frozen one does."""
        fingerprint = rgb[::31, ::29].tobytes()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self.unchanged_since_s = monotonic()
