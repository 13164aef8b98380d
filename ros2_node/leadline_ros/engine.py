"""One image message through the pipeline to the outputs; runs in the worker's thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from leadline.errors import Cancelled, InputError
from leadline.streaming.buffers import RateMeter, Window
from leadline.streaming.frames import Frame, Matrix, StreamResult
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.ros.messages import rgb_of, stamp_ns
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import EXTRAPOLATE_S, Surroundings
from leadline_ros.inputs import ImageJob
from leadline_ros.messages import rgb_through_cv_bridge
from leadline_ros.outputs import Outputs
from leadline_ros.situation import Situation


class Engine:
    """Converts, runs, publishes and measures.

    Args:
        situation: Of the node.
        surroundings: What was measured around the images.
        outputs: The publishers, or None while there are none.
        is_stopping: Whether long work should give up.

    Raises:
        InputError: cv_bridge is asked for and cannot be used.
    """

    def __init__(
        self,
        situation: Situation,
        surroundings: Surroundings,
        outputs: Callable[[], Outputs | None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._situation = situation
        self._surroundings = surroundings
        self._outputs = outputs
        self._is_stopping = is_stopping
        self._to_rgb = rgb_through_cv_bridge() if situation.node.use_cv_bridge else rgb_of
        self._reset_wanted = threading.Event()
        self._fingerprint = b""
        self.unchanged_since_s = monotonic()
        self.processed = 0
        self.failed = 0
        self.failing = ""  # what the last frame failed of; empty after a good one
        self.output_rate = RateMeter()
        self.latency_s = Window()  # from the image's arrival to its depth being published
        self.waited_s = Window()  # of it: until the work on it began
        self.model_s = Window()
        self.completion_s = Window()
        self.overhead_s = Window()  # everything else
        self.age_s = Window()  # from the image's stamp to its depth being published; needs a shared clock
        self.points_age_s = Window()  # image's time less the time of the points used with it
        self.evidence = ""
        self.not_metric = ""
        self._warnings: Counter[str] = Counter()
        self._warnings_lock = threading.Lock()
        self._explained: set[str] = set()

    def request_reset(self) -> None:
        """Forget temporal state before the next frame."""
        self._reset_wanted.set()

    def note_failure(self, error: Exception) -> None:
        """A frame failed."""
        self.failed += 1
        self.failing = str(error).strip() or type(error).__name__

    def take_warnings(self) -> list[tuple[str, int]]:
        """(warning, number of frames) since the last call, the most frequent first."""
        with self._warnings_lock:
            found, self._warnings = self._warnings.most_common(), Counter()
        return found

    def loader(self, settings: StreamSettings) -> Callable[[], DepthPipeline]:
        """What loads the model of ``settings`` and warms it up, for :meth:`StreamWorker.load`."""

        def load() -> DepthPipeline:
            started = monotonic()
            pipeline = DepthPipeline.load(settings)
            pipeline.warm_up(settings)
            self._situation.load_error = ""
            estimator = pipeline.estimator
            self._situation.log.info(
                f"loaded {estimator.name} on {estimator.devices[0]} in {monotonic() - started:.1f} s"
            )
            return pipeline

        return load

    def process(self, pipeline: DepthPipeline, job: ImageJob) -> None:
        """Depth of one image, published."""
        situation, outputs = self._situation, self._outputs()
        if outputs is None:
            return
        settings = situation.stream
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            pipeline.reset()
        started = monotonic()
        header = job.message.header
        rgb = self._to_rgb(job.message)
        self._watch_change(rgb)
        info = self._surroundings.info_for(rgb)
        frame = self._surroundings.frame(header, rgb, info, settings)
        result = pipeline.process(frame, settings, self._stop_when_asked)
        if not situation.active:  # deactivated while the model worked
            return
        to_points_frame = self._to_points_frame(header)
        published = outputs.publish(header, frame, info, result, settings, situation.node, to_points_frame)
        ended = monotonic()

        for problem in published.problems:
            situation.note_problem("output", InputError(problem))
        self._note_evidence(frame, result)
        self.processed += 1
        self.failing = ""
        self.output_rate.tick(ended)
        self.latency_s.add(ended - job.received_s)
        self.waited_s.add(started - job.received_s)
        self.model_s.add(result.model_s)
        self.completion_s.add(result.completion_s)
        self.overhead_s.add(ended - started - result.model_s - result.completion_s)
        self.age_s.add((situation.now_ns() - stamp_ns(header)) * 1e-9)

    def _to_points_frame(self, header: Any) -> Matrix | None:
        target = self._situation.node.points_frame
        if not target:
            return None
        found = self._surroundings.transforms.lookup(target, header.frame_id, stamp_ns(header), reach_s=EXTRAPOLATE_S)
        return None if found is None else found.motion

    def _note_evidence(self, frame: Frame, result: StreamResult) -> None:
        """For /diagnostics; each reason and each kind of warning goes into the log once."""
        self.evidence, self.not_metric = result.evidence, result.reason
        if result.reason and result.reason not in self._explained:
            self._explained.add(result.reason)
            self._situation.log.warning(f"publishing on depth/relative, not on depth: {result.reason}")
        if frame.sweep is not None:
            if not len(self.points_age_s):
                self._situation.log.info(
                    f"points are {1e3 * frame.sweep.age_s:.0f} ms from their image; images wait for points and TF of their time "
                    f"for up to {self._situation.stream.max_wait_s:g} s (max_wait_s)"
                )
            self.points_age_s.add(frame.sweep.age_s)
        for warning in result.warnings:
            self._situation.note_problem("scale", warning)
            with self._warnings_lock:
                self._warnings[warning] += 1

    def _stop_when_asked(self, stage: str, fraction: float) -> None:
        if self._situation.stop.is_set() or self._is_stopping():
            raise Cancelled("the node is stopping")

    def _watch_change(self, rgb: Any) -> None:
        """A live sensor never repeats itself bit by bit; a frozen one does."""
        fingerprint = rgb[::31, ::29].tobytes()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self.unchanged_since_s = monotonic()
