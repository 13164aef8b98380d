"""/diagnostics: what comes in, what the model does, where the metres come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from leadline.streaming.problems import kind_of
from leadline.streaming.worker import StreamWorker
from leadline_ros.inputs import RobotInputs
from leadline_ros.situation import Situation
from leadline_ros.stream import CameraStream
from leadline_ros.tally import Tally

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE

#: Share of a topic's messages lost on the way from which it is worth a warning.
_LOSS_WORTH_A_WARNING = 0.1
#: An image older than this on arrival means that its clock is not ours (a bag without /clock), not that we are slow.
_ANOTHER_CLOCK_S = 60.0


class Parts(Protocol):
    """What is reported on; a part that does not exist now is None."""

    cameras: Mapping[str, CameraStream]
    robot: RobotInputs
    worker: StreamWorker[Any, Any] | None

    @property
    def state_label(self) -> str:
        """Of the lifecycle."""


@dataclass(frozen=True)
class Statuses:
    """What there is to say about one node, as messages."""

    name: str
    situation: Situation
    parts: Parts

    def all(self, dropped_before: int) -> list[DiagnosticStatus]:
        """Input and scale of each camera, and the model."""
        cameras = self.parts.cameras.values()
        return [*map(self._input, cameras), self._model(dropped_before), *map(self._scale, cameras)]

    def silent_s(self, camera: CameraStream) -> float | None:
        """Seconds without an image while reading; None while not reading."""
        inputs = camera.inputs
        if not (self.situation.active and inputs.is_open):
            return None
        since = inputs.opened_s if inputs.last_image_s is None else max(inputs.last_image_s, inputs.opened_s)
        return monotonic() - since

    def _status(self, task: str, level: bytes, summary: str, values: dict[str, Any]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self.name}: {task}",
            message=summary,
            hardware_id=self.situation.stream.device,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )

    def _input(self, camera: CameraStream) -> DiagnosticStatus:
        situation, inputs, robot, tally = self.situation, camera.inputs, self.parts.robot, camera.tally
        silent_s = self.silent_s(camera)
        lost = {"images": inputs.images_lost.share(), "point clouds": robot.points_lost.share()}
        worst = max(lost, key=lambda name: lost[name])
        unchanged_s = monotonic() - tally.unchanged_since_s
        limit_s = situation.node.static_timeout_s
        if silent_s is None:
            level = OK
            summary = "nobody listens to an output" if situation.active else f"not reading ({self.parts.state_label})"
        elif silent_s > situation.node.stall_timeout_s:
            level, summary = STALE, f"no image for {silent_s:.1f} s"
        elif limit_s > 0 and unchanged_s > limit_s and tally.processed:
            level, summary = WARN, f"the image has not changed for {unchanged_s:.0f} s; is the camera frozen?"
        elif lost[worst] > _LOSS_WORTH_A_WARNING:
            level = WARN
            summary = f"{lost[worst]:.0%} of the {worst} are lost on the way; see the Fast DDS profile in docs/ros2.md"
        else:
            level, summary = OK, "images arrive"
        values = {
            "topic": inputs.image_topic(situation.node.image_transport),
            "images received": inputs.received,
            "image rate (Hz)": inputs.image_rate.rate_hz(),
            "images lost before arrival (share)": lost["images"],
            "point cloud rate (Hz)": robot.points_rate.rate_hz(),
            "point clouds lost before arrival (share)": lost["point clouds"],
            "sparse depth rate (Hz)": inputs.sparse_rate.rate_hz(),
            "camera_info": "received" if camera.surroundings.info else "missing",
        }
        problems = situation.complaints.counts()
        if camera.name:
            problems = {kind: count for kind, count in problems.items() if kind.startswith(camera.title)}
        return self._status(
            f"{camera.title}input", level, summary, values | {f"problem: {k}": n for k, n in problems.items()}
        )

    def _model(self, dropped_before: int) -> DiagnosticStatus:
        situation, worker = self.situation, self.parts.worker
        tallies = {camera.title: camera.tally for camera in self.parts.cameras.values()}
        dropped = worker.dropped if worker else 0
        failing = next((tally.failing for tally in tallies.values() if tally.failing), "")
        values: dict[str, Any] = {"model": situation.stream.model, "state": self.parts.state_label}
        if situation.load_error:
            level, summary = ERROR, situation.load_error
        elif worker is not None and worker.loading:
            level, summary = WARN, f"loading {situation.stream.model}"
        elif worker is None:
            level, summary = OK, "not configured"
        elif failing:
            level, summary = ERROR, f"the last frame failed: {failing.splitlines()[0][:200]}"
        else:
            running = any(tally.output_rate.rate_hz() for tally in tallies.values())
            level, summary = OK, "running" if running else "waiting"
        if worker is not None and worker.model is not None:
            estimator = worker.model.estimator
            values |= {"running model": estimator.name, "device": ", ".join(map(str, estimator.devices))}
            values |= _gpu_memory(estimator.devices[0])
        if worker is not None:
            values |= {
                "frames dropped": dropped,
                "frames dropped since last message": max(0, dropped - dropped_before),
            }
            for title, tally in tallies.items():
                values |= {f"{title}{key}": value for key, value in _fares(tally).items()}
        return self._status("model", level, summary, values)

    def _scale(self, camera: CameraStream) -> DiagnosticStatus:
        tally, settings, surroundings = camera.tally, camera.settings(), camera.surroundings
        task = f"{camera.title}scale"
        if not tally.processed:
            return self._status(task, OK, "no frame yet", {})
        warnings = tally.take_warnings()
        if tally.not_metric:
            level, summary = WARN, f"relative: {tally.not_metric}"
        elif warnings:
            level, summary = WARN, f"metric: {tally.evidence}; {warnings[0][0]}"
        else:
            level, summary = OK, f"metric: {tally.evidence}"
        values: dict[str, Any] = {
            "evidence": tally.evidence or "none",
            "extrinsics": surroundings.extrinsics or "not used",
            "images without points in time": surroundings.images_without_points,
            "points older than their image (ms)": 1e3 * tally.points_age_s.percentile(50),
            "waiting at most (s)": settings.max_wait_s,
            "sync tolerance (s)": settings.sync_tolerance_s,
        }
        by_kind: dict[str, int] = {}
        for text, count in warnings:
            by_kind[kind_of(text)] = by_kind.get(kind_of(text), 0) + count
        return self._status(task, level, summary, values | {f"warning: {kind}": n for kind, n in by_kind.items()})


def _fares(tally: Tally) -> dict[str, Any]:
    """How the frames of one camera fare."""
    age_s = tally.age_s.percentile(50)
    known = 0 <= age_s < _ANOTHER_CLOCK_S
    return {
        "frames processed": tally.processed,
        "frames failed": tally.failed,
        "output rate (Hz)": tally.output_rate.rate_hz(),
        "latency median (ms)": 1e3 * tally.latency_s.percentile(50),
        "latency p95 (ms)": 1e3 * tally.latency_s.percentile(95),
        "waiting median (ms)": 1e3 * tally.waited_s.percentile(50),
        "model median (ms)": 1e3 * tally.model_s.percentile(50),
        "completion median (ms)": 1e3 * tally.completion_s.percentile(50),
        "overhead median (ms)": 1e3 * tally.overhead_s.percentile(50),
        "age of the image when published (ms)": 1e3 * age_s if known else "unknown: stamps are of another clock",
    }


class DiagnosticsReporter:
    """Publishes the statuses once per period, and logs when images stop coming.

    Args:
        statuses: What to say.
        publisher: Of `diagnostic_msgs/DiagnosticArray`.
    """

    def __init__(self, statuses: Statuses, publisher: Any) -> None:
        self._statuses = statuses
        self._publisher = publisher
        self._published_s = 0.0
        self._stalled: set[str] = set()  # cameras whose silence was logged
        self._dropped_before = 0

    def publish_if_due(self) -> None:
        """For the time in which a transition keeps timers from running."""
        if monotonic() - self._published_s >= self._statuses.situation.node.diagnostics_period_s:
            self.publish()

    def publish(self) -> None:
        """Send the statuses now."""
        self._published_s = monotonic()
        message = DiagnosticArray()
        seconds, nanoseconds = divmod(self._statuses.situation.now_ns(), 1_000_000_000)
        message.header.stamp = Time(sec=seconds, nanosec=nanoseconds)
        message.status = self._statuses.all(self._dropped_before)
        worker = self._statuses.parts.worker
        self._dropped_before = worker.dropped if worker else 0
        self._publisher.publish(message)

    def watch(self) -> None:
        """Log once when images of a camera stop coming, and once when they come again."""
        for camera in self._statuses.parts.cameras.values():
            self._watch(camera)

    def _watch(self, camera: CameraStream) -> None:
        situation, silent_s = self._statuses.situation, self._statuses.silent_s(camera)
        if silent_s is None:
            return
        if silent_s <= situation.node.stall_timeout_s:
            if camera.name in self._stalled:
                self._stalled.discard(camera.name)
                situation.log.info(f"{camera.title}images come again")
        elif camera.name not in self._stalled:
            self._stalled.add(camera.name)
            topic = camera.inputs.image_topic(situation.node.image_transport)
            situation.log.warning(f"no image on {topic} for {silent_s:.1f} s")


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _gpu_memory(device: Any) -> dict[str, Any]:
    if getattr(device, "type", "") != "cuda":
        return {}
    import torch  # noqa: PLC0415  (loaded already, by the model)

    return {"GPU memory (MB)": torch.cuda.memory_allocated(device) / 1e6}
