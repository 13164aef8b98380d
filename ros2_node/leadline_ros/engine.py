"""Image messages through the pipeline to the outputs; runs in the worker's thread and its lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from leadline.depth.prediction import DepthPrediction
from leadline.errors import Cancelled, InputError
from leadline.streaming.frames import Frame, Matrix, StreamResult
from leadline.streaming.lanes import Lanes
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.ros.messages import rgb_of, stamp_ns
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tuned import AROUND
from leadline_ros.inputs import ImageJob
from leadline_ros.messages import rgb_through_cv_bridge
from leadline_ros.situation import Situation
from leadline_ros.stream import CameraStream

#: A frame that failed, and why.
Failure = tuple[ImageJob, Exception]


@dataclass(frozen=True)
class _Prepared:
    """An image with what belongs to it, ready for the model."""

    job: ImageJob
    camera: CameraStream
    settings: StreamSettings
    info: Any
    frame: Frame
    started_s: float


class Engine:
    """Converts, runs, publishes and measures.

    Args:
        situation: Of the node.
        cameras: By name.
        is_stopping: Whether long work should give up.

    Raises:
        InputError: cv_bridge is asked for and cannot be used.
    """

    def __init__(
        self, situation: Situation, cameras: Mapping[str, CameraStream], is_stopping: Callable[[], bool]
    ) -> None:
        self._situation = situation
        self._cameras = cameras
        self._is_stopping = is_stopping
        self._to_rgb = rgb_through_cv_bridge() if situation.node.use_cv_bridge else rgb_of
        self._lanes = Lanes(len(cameras))
        self._explained: set[str] = set()

    def close(self) -> None:
        """Let the lanes' threads end."""
        self._lanes.close()

    def loader(self, settings: StreamSettings) -> Callable[[], DepthPipeline]:
        """What loads the model of ``settings`` and warms it up, for :meth:`StreamWorker.load`."""

        def load() -> DepthPipeline:
            started = monotonic()
            pipeline = DepthPipeline.load(settings)
            sizes = [camera.inputs.image_size() for camera in self._cameras.values()]
            known = [size for size in sizes if size is not None]
            pipeline.warm_up(settings, known)
            self._situation.load_error = ""
            estimator = pipeline.estimator
            by = ", warmed up at " + ", ".join(f"{w}x{h}" for w, h in sorted(set(known))) if known else ""
            self._situation.log.info(
                f"loaded {estimator.name} on {estimator.devices[0]} in {monotonic() - started:.1f} s{by}"
            )
            return pipeline

        return load

    def process(self, pipeline: DepthPipeline, jobs: Sequence[ImageJob]) -> list[Failure]:
        """Depth of one image of each of some cameras, published; which failed, and why.

        A GPU takes them as one batch. On a CPU each core takes one: faster, as no core waits for another, and with less memory.
        """
        parts = [[job] for job in jobs] if pipeline.on_cpu else [list(jobs)]
        return [
            failure for failed in self._lanes.map(lambda part: self._batch(pipeline, part), parts) for failure in failed
        ]

    def _batch(self, pipeline: DepthPipeline, jobs: list[ImageJob]) -> list[Failure]:
        failed: list[Failure] = []
        prepared: list[_Prepared] = []
        for job in jobs:
            try:
                prepared.append(self._prepare(pipeline, job))
            except Exception as error:  # of this camera; the others go on
                failed.append((job, error))
        if not prepared:
            return failed
        started = monotonic()
        try:
            images = [one.frame.rgb for one in prepared]
            maps = pipeline.predict(images, self._situation.stream, self._stop_when_asked)
        except Cancelled:
            raise
        except Exception as error:
            return failed + [(one.job, error) for one in prepared]
        model_s = monotonic() - started
        for one, raw in zip(prepared, maps, strict=True):
            try:
                self._finish(pipeline, one, raw, model_s)
            except Exception as error:
                failed.append((one.job, error))
        return failed

    def _prepare(self, pipeline: DepthPipeline, job: ImageJob) -> _Prepared:
        camera = self._cameras[job.camera]
        settings = camera.settings()
        if camera.reset_wanted.is_set():
            camera.reset_wanted.clear()
            pipeline.reset(camera.name)
        started = monotonic()
        rgb = self._to_rgb(job.message)
        camera.tally.watch_change(rgb)
        info = camera.surroundings.info_for(rgb)
        frame = camera.surroundings.frame(job.message.header, rgb, info, settings)
        return _Prepared(job, camera, settings, info, frame, started)

    def _finish(self, pipeline: DepthPipeline, one: _Prepared, raw: DepthPrediction, model_s: float) -> None:
        """Make a map metric, publish it, and keep the figures for /diagnostics."""
        situation, camera, header = self._situation, one.camera, one.job.message.header
        result = pipeline.finish(one.frame, raw, one.settings, camera.name, model_s)
        outputs = camera.outputs
        if outputs is None or not situation.active:  # deactivated while the model worked
            return
        to_points_frame = self._to_points_frame(camera, header)
        published = outputs.publish(header, one.frame, one.info, result, one.settings, situation.node, to_points_frame)
        ended = monotonic()

        for problem in published.problems:
            camera.note_problem("output", InputError(problem))
        self._note_evidence(camera, one.frame, result)
        tally, received_s = camera.tally, one.job.received_s
        tally.processed += 1
        tally.failing = ""
        tally.output_rate.tick(ended)
        tally.latency_s.add(ended - received_s)
        tally.waited_s.add(one.started_s - received_s)
        tally.model_s.add(result.model_s)
        tally.completion_s.add(result.completion_s)
        tally.overhead_s.add(ended - one.started_s - result.model_s - result.completion_s)
        tally.age_s.add((situation.now_ns() - stamp_ns(header)) * 1e-9)

    def _to_points_frame(self, camera: CameraStream, header: Any) -> Matrix | None:
        target = self._situation.node.points_frame
        if not target:
            return None
        transforms = camera.surroundings.transforms
        found = transforms.lookup(target, header.frame_id, stamp_ns(header), reach_s=AROUND.extrapolate_s)
        return None if found is None else found.motion

    def _note_evidence(self, camera: CameraStream, frame: Frame, result: StreamResult) -> None:
        """For /diagnostics; each reason and each kind of warning goes into the log once."""
        tally, log, topic = camera.tally, self._situation.log, f"{camera.name}/depth" if camera.name else "depth"
        tally.evidence, tally.not_metric = result.evidence, result.reason
        reason = f"publishing on {topic}/relative, not on {topic}: {result.reason}"
        if result.reason and reason not in self._explained:
            self._explained.add(reason)
            log.warning(reason)
        if frame.sweep is not None:
            if not len(tally.points_age_s):
                log.info(
                    f"{camera.title}points are {1e3 * frame.sweep.age_s:.0f} ms from their image; images wait for points and TF "
                    f"of their time for up to {camera.settings().max_wait_s:g} s (max_wait_s)"
                )
            tally.points_age_s.add(frame.sweep.age_s)
        for warning in result.warnings:
            camera.note_problem("scale", warning)
            tally.note_warning(warning)

    def _stop_when_asked(self, stage: str, fraction: float) -> None:
        if self._situation.stop.is_set() or self._is_stopping():
            raise Cancelled("the node is stopping")
