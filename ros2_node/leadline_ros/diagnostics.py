"""/diagnostics: what comes in, what the model does, where the metres come from."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from leadline.streaming.problems import kind_of
from leadline.streaming.worker import StreamWorker
from leadline_ros.engine import Engine
from leadline_ros.inputs import Inputs
from leadline_ros.situation import Situation

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE

#: Share of a topic's messages lost on the way from which it is worth a warning.
_LOSS_WORTH_A_WARNING = 0.1
#: An image older than this on arrival means that its clock is not ours (a bag without /clock), not that we are slow.
_ANOTHER_CLOCK_S = 60.0


class Parts(Protocol):
    """What is reported on; a part that does not exist now is None."""

    inputs: Inputs
    engine: Engine | None
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
        """Input, model and scale."""
        return [self._input(), self._model(dropped_before), self._scale()]

    def silent_s(self) -> float | None:
        """Seconds without an image while reading; None while not reading."""
        inputs = self.parts.inputs
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

    def _input(self) -> DiagnosticStatus:
        situation, inputs, engine = self.situation, self.parts.inputs, self.parts.engine
        silent_s = self.silent_s()
        lost = {"images": inputs.images_lost.share(), "point clouds": inputs.points_lost.share()}
        worst = max(lost, key=lambda name: lost[name])
        unchanged_s = monotonic() - engine.unchanged_since_s if engine else 0.0
        limit_s = situation.node.static_timeout_s
        if silent_s is None:
            level = OK
            summary = "nobody listens to an output" if situation.active else f"not reading ({self.parts.state_label})"
        elif silent_s > situation.node.stall_timeout_s:
            level, summary = STALE, f"no image for {silent_s:.1f} s"
        elif limit_s > 0 and unchanged_s > limit_s and engine and engine.processed:
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
            "point cloud rate (Hz)": inputs.points_rate.rate_hz(),
            "point clouds lost before arrival (share)": lost["point clouds"],
            "sparse depth rate (Hz)": inputs.sparse_rate.rate_hz(),
            "camera_info": "received" if inputs.surroundings.info else "missing",
        }
        problems = situation.complaints.counts()
        return self._status("input", level, summary, values | {f"problem: {k}": n for k, n in problems.items()})

    def _model(self, dropped_before: int) -> DiagnosticStatus:
        situation, engine, worker = self.situation, self.parts.engine, self.parts.worker
        dropped = worker.dropped if worker else 0
        values: dict[str, Any] = {"model": situation.stream.model, "state": self.parts.state_label}
        if situation.load_error:
            level, summary = ERROR, situation.load_error
        elif worker is not None and worker.loading:
            level, summary = WARN, f"loading {situation.stream.model}"
        elif worker is None or engine is None:
            level, summary = OK, "not configured"
        elif engine.failing:
            level, summary = ERROR, f"the last frame failed: {engine.failing.splitlines()[0][:200]}"
        else:
            level, summary = OK, "running" if engine.output_rate.rate_hz() else "waiting"
        if worker is not None and worker.model is not None:
            estimator = worker.model.estimator
            values |= {"running model": estimator.name, "device": ", ".join(map(str, estimator.devices))}
            values |= _gpu_memory(estimator.devices[0])
        if engine is not None:
            values |= {
                "frames processed": engine.processed,
                "frames failed": engine.failed,
                "frames dropped": dropped,
                "frames dropped since last message": max(0, dropped - dropped_before),
                "output rate (Hz)": engine.output_rate.rate_hz(),
                "latency median (ms)": 1e3 * engine.latency_s.percentile(50),
                "latency p95 (ms)": 1e3 * engine.latency_s.percentile(95),
                "waiting median (ms)": 1e3 * engine.waited_s.percentile(50),
                "model median (ms)": 1e3 * engine.model_s.percentile(50),
                "completion median (ms)": 1e3 * engine.completion_s.percentile(50),
                "overhead median (ms)": 1e3 * engine.overhead_s.percentile(50),
            }
            age_s = engine.age_s.percentile(50)
            values["age of the image when published (ms)"] = (
                1e3 * age_s if 0 <= age_s < _ANOTHER_CLOCK_S else "unknown: stamps are of another clock"
            )
        return self._status("model", level, summary, values)

    def _scale(self) -> DiagnosticStatus:
        engine, settings = self.parts.engine, self.situation.stream
        surroundings = self.parts.inputs.surroundings
        if engine is None or not engine.processed:
            return self._status("scale", OK, "no frame yet", {})
        warnings = engine.take_warnings()
        if engine.not_metric:
            level, summary = WARN, f"relative: {engine.not_metric}"
        elif warnings:
            level, summary = WARN, f"metric: {engine.evidence}; {warnings[0][0]}"
        else:
            level, summary = OK, f"metric: {engine.evidence}"
        values: dict[str, Any] = {
            "evidence": engine.evidence or "none",
            "extrinsics": surroundings.extrinsics or "not used",
            "images without points in time": surroundings.images_without_points,
            "points older than their image (ms)": 1e3 * engine.points_age_s.percentile(50),
            "waiting at most (s)": settings.max_wait_s,
            "sync tolerance (s)": settings.sync_tolerance_s,
        }
        by_kind: dict[str, int] = {}
        for text, count in warnings:
            by_kind[kind_of(text)] = by_kind.get(kind_of(text), 0) + count
        return self._status("scale", level, summary, values | {f"warning: {kind}": n for kind, n in by_kind.items()})


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
        self._stall_logged = False
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
        """Log once when images stop coming, and once when they come again."""
        situation, silent_s = self._statuses.situation, self._statuses.silent_s()
        stalled = silent_s is not None and silent_s > situation.node.stall_timeout_s
        if stalled and not self._stall_logged:
            topic = self._statuses.parts.inputs.image_topic(situation.node.image_transport)
            situation.log.warning(f"no image on {topic} for {silent_s:.1f} s")
        elif self._stall_logged and not stalled and silent_s is not None:
            situation.log.info("images come again")
        if silent_s is not None:
            self._stall_logged = stalled


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _gpu_memory(device: Any) -> dict[str, Any]:
    if getattr(device, "type", "") != "cuda":
        return {}
    import torch  # noqa: PLC0415  (loaded already, by the model)

    return {"GPU memory (MB)": torch.cuda.memory_allocated(device) / 1e6}
