"""/diagnostics: what comes in, what the model does, where the metres come from."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from leadline_ros.node import DepthNode

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE

#: Share of images lost on the way from which it is worth a warning.
_GAPS_WORTH_A_WARNING = 0.1
#: An image older than this on arrival means that its clock is not ours (a bag without /clock), not that we are slow.
_ANOTHER_CLOCK_S = 60.0


class DiagnosticsReporter:
    """Three statuses once per period: input, model, scale."""

    def __init__(self, node: DepthNode) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._published_s = 0.0
        self._stall_logged = False
        self._before = (0, 0)  # received and dropped at the last message

    def publish_if_due(self) -> None:
        """For the time in which a transition keeps timers from running."""
        if monotonic() - self._published_s >= self._node.node_settings.diagnostics_period_s:
            self.publish()

    def publish(self) -> None:
        """Send the three statuses now."""
        self._published_s = monotonic()
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [self._input(), self._model(), self._scale()]
        self._publisher.publish(message)

    def watch(self) -> None:
        """Log once when images stop coming, and once when they come again."""
        silent_s = self._silent_s()
        stalled = silent_s is not None and silent_s > self._node.node_settings.stall_timeout_s
        if stalled and not self._stall_logged:
            topic = self._node.inputs.image_topic(self._node.node_settings.image_transport)
            self._node.get_logger().warning(f"no image on {topic} for {silent_s:.1f} s")
        elif self._stall_logged and not stalled and silent_s is not None:
            self._node.get_logger().info("images come again")
        if silent_s is not None:
            self._stall_logged = stalled

    def _silent_s(self) -> float | None:
        """Seconds without an image while reading; None while not reading."""
        inputs = self._node.inputs
        if not (self._node.active and inputs.is_open):
            return None
        since = inputs.opened_s if inputs.last_image_s is None else max(inputs.last_image_s, inputs.opened_s)
        return monotonic() - since

    def _status(self, task: str, level: bytes, summary: str, values: dict[str, Any]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {task}",
            message=summary,
            hardware_id=self._node.stream_settings.device,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )

    def _input(self) -> DiagnosticStatus:
        node, inputs = self._node, self._node.inputs
        silent_s, gaps = self._silent_s(), inputs.image_rhythm.gap_share()
        unchanged_s = monotonic() - node.engine.unchanged_since_s if node.engine else 0.0
        limit_s = node.node_settings.static_timeout_s
        problems = node.complaints.counts()
        if silent_s is None:
            level, summary = OK, "nobody listens to an output" if node.active else f"not reading ({node.state_label})"
        elif silent_s > node.node_settings.stall_timeout_s:
            level, summary = STALE, f"no image for {silent_s:.1f} s"
        elif limit_s > 0 and unchanged_s > limit_s and node.engine and node.engine.processed:
            level, summary = WARN, f"the image has not changed for {unchanged_s:.0f} s; is the camera frozen?"
        elif gaps > _GAPS_WORTH_A_WARNING:
            level = WARN
            summary = f"{gaps:.0%} of the images are lost on the way; see the Fast DDS profile in docs/ros2.md"
        else:
            level, summary = OK, "images arrive"
        values = {
            "topic": inputs.image_topic(node.node_settings.image_transport),
            "images received": inputs.received,
            "image rate (Hz)": inputs.image_rate.rate_hz(),
            "images lost before arrival (share)": gaps,
            "point cloud rate (Hz)": inputs.points_rate.rate_hz(),
            "sparse depth rate (Hz)": inputs.sparse_rate.rate_hz(),
            "camera_info": "received" if inputs.surroundings.info else "missing",
        }
        return self._status("input", level, summary, values | {f"problem: {k}": n for k, n in problems.items()})

    def _model(self) -> DiagnosticStatus:
        node, engine, worker = self._node, self._node.engine, self._node.worker
        received, dropped = node.inputs.received, worker.dropped if worker else 0
        values: dict[str, Any] = {"model": node.stream_settings.model, "state": node.state_label}
        if node.load_error:
            level, summary = ERROR, node.load_error
        elif worker is not None and worker.loading:
            level, summary = WARN, f"loading {node.stream_settings.model}"
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
                "frames dropped since last message": max(0, dropped - self._before[1]),
                "output rate (Hz)": engine.output_rate.rate_hz(),
                "latency median (ms)": 1e3 * engine.latency_s.percentile(50),
                "latency p95 (ms)": 1e3 * engine.latency_s.percentile(95),
                "model median (ms)": 1e3 * engine.model_s.percentile(50),
                "completion median (ms)": 1e3 * engine.completion_s.percentile(50),
                "overhead median (ms)": 1e3 * engine.overhead_s.percentile(50),
            }
            age_s = engine.age_s.percentile(50)
            values["age of the image when published (ms)"] = (
                1e3 * age_s if 0 <= age_s < _ANOTHER_CLOCK_S else "unknown: stamps are of another clock"
            )
        self._before = (received, dropped)
        return self._status("model", level, summary, values)

    def _scale(self) -> DiagnosticStatus:
        engine, settings = self._node.engine, self._node.stream_settings
        surroundings = self._node.inputs.surroundings
        if engine is None or not engine.processed:
            return self._status("scale", OK, "no frame yet", {})
        level, summary = (
            (WARN, f"relative: {engine.not_metric}") if engine.not_metric else (OK, f"metric: {engine.evidence}")
        )
        values = {
            "evidence": engine.evidence or "none",
            "extrinsics": surroundings.extrinsics or "not used",
            "images without points in time": surroundings.images_without_points,
            "sync tolerance (s)": settings.sync_tolerance_s,
        }
        return self._status("scale", level, summary, values)


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _gpu_memory(device: Any) -> dict[str, Any]:
    if getattr(device, "type", "") != "cuda":
        return {}
    import torch  # noqa: PLC0415  (loaded already, by the model)

    return {"GPU memory (MB)": torch.cuda.memory_allocated(device) / 1e6}
