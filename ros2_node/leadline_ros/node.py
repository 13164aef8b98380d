"""The depth node: lifecycle, parameters, services; everything heavy happens in the worker's thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from leadline.errors import InputError, LeadlineError, first_line
from leadline.sensors.transforms import TransformTree
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.settings import MODEL_FIELDS, StreamSettings
from leadline.streaming.worker import StreamWorker
from leadline_ros.diagnostics import DiagnosticsReporter, Statuses
from leadline_ros.engine import Engine
from leadline_ros.inputs import ImageJob, RobotInputs
from leadline_ros.parameters import NodeSettings, changes_from, declare, declare_own, own_changes_from
from leadline_ros.situation import Situation
from leadline_ros.stream import CameraStream

RCLError = rclpy_implementation.RCLError

_HOUSEKEEPING_PERIOD_S = 0.2


class DepthNode(LifecycleNode):
    """Image topics of one or more cameras in; metric or relative depth, uncertainty, points and previews out.

    unconfigured → configure loads the model and warms it up → inactive → activate reads and publishes → active.

    Args:
        stop: Set when the process is asked to end; long work watches it.
    """

    def __init__(self, stop: threading.Event | None = None, **node_arguments: Any) -> None:
        super().__init__("depth_node", **node_arguments)
        self.situation = Situation(
            stream=StreamSettings(**declare(self, StreamSettings)),
            node=NodeSettings(**declare(self, NodeSettings)),
            log=self.get_logger(),
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            stream_s=self._stream_s,
            stop=stop or threading.Event(),
        )
        transforms = TransformTree()
        self.cameras = {
            name: CameraStream(
                self,
                name,
                self.situation,
                transforms,
                declare_own(self, name) if name else {},
                on_image=self._offer,
                on_more=self._look_again,
            )
            for name in self.situation.node.camera_names
        }
        for camera in self.cameras.values():
            camera.settings()  # complains now about what does not fit together
        self.robot = RobotInputs(self, [one.surroundings for one in self.cameras.values()], self._look_again)
        self.engine: Engine | None = None
        self.worker: StreamWorker[ImageJob, DepthPipeline] | None = None
        self._autostart_pending = False
        self._restore_model_parameters = False
        self.add_on_set_parameters_callback(self._check_parameters)
        self._has_post_callback = hasattr(self, "add_post_set_parameters_callback")  # not in Humble
        if self._has_post_callback:
            self.add_post_set_parameters_callback(self._apply_parameters)
        self.create_service(Trigger, "~/reset", self._reset)
        statuses = Statuses(self.get_fully_qualified_name().lstrip("/"), self.situation, self)
        self.diagnostics = DiagnosticsReporter(statuses, self.create_publisher(DiagnosticArray, "/diagnostics", 10))
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs where a simulation stands still, or has not begun
        self.create_timer(self.situation.node.diagnostics_period_s, self.diagnostics.publish, clock=steady)
        self.create_timer(_HOUSEKEEPING_PERIOD_S, self._housekeeping, clock=steady)
        self._guard_change_state()

    # Lifecycle

    def _guard_change_state(self) -> None:
        """Answer an impossible transition with failure; rclpy would raise it out of the executor and end the node."""
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        change_state = service.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except RCLError as error:
                asked = request.transition.label or request.transition.id
                self.get_logger().warning(f"transition {asked!r} is not possible now: {first_line(error)}")
                response.success = False
                return response

        service.callback = guarded

    def autostart(self) -> None:
        """Begin to load the model, if `auto_activate` says so; the transitions follow when it is there.

        So the node answers its services meanwhile. What goes wrong is logged and leaves it unconfigured.
        """
        if not self.situation.node.auto_activate:
            return
        try:
            self._begin_loading()
            self._autostart_pending = True
        except LeadlineError as error:
            self._cannot_configure(error)

    def _continue_autostart(self) -> None:
        if self.worker is None:  # somebody else configured and cleaned up meanwhile
            self._autostart_pending = False
        if not self._autostart_pending or self.worker is None or self.worker.loading:
            return
        self._autostart_pending = False
        if self.worker.model is None:
            self._release()
            return
        try:
            if self.state_label == "unconfigured":
                self.trigger_configure()
            if self.state_label == "inactive":
                self.trigger_activate()
        except RCLError as error:  # somebody else changed the state in between
            self.get_logger().warning(f"auto-activation stopped: {first_line(error)}")

    def _begin_loading(self) -> None:
        """Start the worker and have it load the model.

        Raises:
            LeadlineError: cv_bridge is asked for and cannot be used.
        """
        self.engine = Engine(
            self.situation, self.cameras, is_stopping=lambda: self.worker is None or self.worker.stopping
        )
        for camera in self.cameras.values():
            camera.inputs.look_for_calibration()  # comes while the model is loaded, which is then warmed up at that size
        self.worker = StreamWorker(
            self.engine.process, self._frame_failed, self._load_failed, lacks=self._lacks, now_s=self._stream_s
        )
        self.situation.load_error = ""
        self.worker.min_period_s = _period(self.situation.node)
        self.worker.start()
        self.worker.load(self.engine.loader(self.situation.stream))

    def _cannot_configure(self, error: Exception) -> None:
        self.situation.load_error = first_line(error)
        self.get_logger().error(f"cannot configure: {self.situation.load_error}")

    @property
    def state_label(self) -> str:
        """ "unconfigured", "inactive", "active" or "finalized"."""
        return str(self._state_machine.current_state[1])

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model in the worker's thread, and warm it up."""
        try:
            if self.worker is None:
                self._begin_loading()
        except LeadlineError as error:
            self._cannot_configure(error)
            return TransitionCallbackReturn.FAILURE
        while self.worker is not None and not self.worker.wait_loaded(0.05):
            self.diagnostics.publish_if_due()
            if self.situation.stop.is_set():
                break
        if self.worker is None or self.worker.model is None or self.situation.stop.is_set():
            self._release()
            return TransitionCallbackReturn.FAILURE
        for camera in self.cameras.values():
            camera.inputs.close()  # the calibration was enough until now
            camera.advertise()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and start reading as soon as somebody listens."""
        result = super().on_activate(state)
        self.situation.active = True
        self._follow_demand()
        transport = self.situation.node.image_transport
        topics = ", ".join(camera.inputs.image_topic(transport) for camera in self.cameras.values())
        self.get_logger().info(f"active: {self.situation.stream.model} on {topics}")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop reading; the model stays loaded."""
        self._stop_reading()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and its memory."""
        result = super().on_cleanup(state)
        self._release()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; the process ends after it."""
        self._stop_reading()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, with nothing held."""
        self._stop_reading()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _stop_reading(self) -> None:
        self.situation.active = False
        for camera in self.cameras.values():
            camera.inputs.close()
        self.robot.close()
        if self.worker is not None:
            self.worker.clear()

    def _release(self) -> bool:
        """Drop worker, model and publishers; False if the model would not let go in time."""
        patience_s = 0.3 if self.situation.stop.is_set() else 10.0
        ended = self.worker is None or self.worker.stop(patience_s)
        for camera in self.cameras.values():
            camera.withdraw()
        if self.engine is not None:
            self.engine.close()
        self.worker = self.engine = None
        return ended

    def close(self) -> bool:
        """For the end of the process: False if a thread of ours still runs."""
        self._stop_reading()
        return self._release()

    # Frames

    def _offer(self, job: ImageJob) -> None:
        camera = self.cameras[job.camera]
        if self.situation.active and self.worker is not None and camera.any_wanted():
            self.worker.put(job, camera.settings().max_wait_s, camera.name)

    def _lacks(self, job: ImageJob) -> str:
        """What of an image's time is still to come."""
        camera = self.cameras[job.camera]
        return camera.surroundings.awaits(job.message.header, camera.settings())

    def _stream_s(self) -> float:
        """Seconds that run as the stamps do: ROS time under `use_sim_time`, else a clock that nobody sets."""
        clock = self.get_clock()
        return float(clock.now().nanoseconds * 1e-9) if clock.ros_time_is_active else monotonic()

    def _look_again(self) -> None:
        if self.worker is not None:
            self.worker.look_again()

    def _follow_demand(self) -> None:
        """Subscribe while somebody listens, unsubscribe when nobody does."""
        if not self.situation.active:
            return
        for camera in self.cameras.values():
            wanted = not self.situation.node.lazy or camera.any_wanted()
            if wanted and not camera.inputs.is_open:
                camera.inputs.open(self.situation.node.image_transport)
            elif not wanted and camera.inputs.is_open:
                camera.inputs.close()
                if self.worker is not None:
                    self.worker.clear(camera.name)
        reading = any(camera.inputs.is_open for camera in self.cameras.values())
        if reading and not self.robot.is_open:
            self.robot.open(self._uses_imu())
        elif not reading:
            self.robot.close()

    def _uses_imu(self) -> bool:
        return any(camera.settings().use_imu for camera in self.cameras.values())

    def _frame_failed(self, job: ImageJob, error: Exception) -> None:
        camera = self.cameras[job.camera]
        camera.tally.note_failure(error)
        camera.note_problem("frame", error)

    def _load_failed(self, error: Exception) -> None:
        self.situation.load_error = first_line(error)
        kept = self.worker is not None and self.worker.model is not None
        what = "the model in use stays" if kept else "no model is loaded"
        self.get_logger().error(f"cannot load {self.situation.stream.model!r}: {self.situation.load_error} ({what})")
        self._restore_model_parameters = kept

    # Services and parameters

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.engine is None:
            response.success, response.message = False, "nothing to reset: the node is not configured"
            return response
        for camera in self.cameras.values():
            camera.forget_time()
        response.success, response.message = True, "temporal state is forgotten"
        return response

    def _check_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Accept or refuse; nothing else happens here, where rclpy can do without it."""
        try:
            changes = changes_from(parameters)
            stream = self.situation.stream.changed(changes)
            node = self.situation.node.changed(changes)
            own = self._own(parameters)
            for settings in own.values():
                stream.changed(settings)
            model = self.worker.model if self.worker is not None else None
            same_model = all(getattr(stream, name) == getattr(self.situation.stream, name) for name in MODEL_FIELDS)
            if model is not None and same_model and stream.steps > 1 and not model.estimator.stochastic:
                raise InputError(f"steps is {stream.steps}; {model.estimator.name} takes exactly one step")
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._has_post_callback:
            self._apply(stream, node, own)
        return SetParametersResult(successful=True)

    def _apply_parameters(self, parameters: Sequence[Parameter]) -> None:
        changes = changes_from(parameters)
        stream, node = self.situation.stream.changed(changes), self.situation.node.changed(changes)
        self._apply(stream, node, self._own(parameters))

    def _own(self, parameters: Sequence[Parameter]) -> dict[str, dict[str, Any]]:
        """What each camera has for itself once these parameters are set."""
        return {
            name: {k: v for k, v in (camera.own | own_changes_from(parameters, name)).items() if v is not None}
            for name, camera in self.cameras.items()
            if name
        }

    def _apply(self, stream: StreamSettings, node: NodeSettings, own: dict[str, dict[str, Any]]) -> None:
        old_stream, self.situation.stream = self.situation.stream, stream
        old_node, self.situation.node = self.situation.node, node
        for name, settings in own.items():
            self.cameras[name].own = settings
        model_changed = any(getattr(stream, name) != getattr(old_stream, name) for name in MODEL_FIELDS)
        if self.worker is not None and self.engine is not None:
            self.worker.min_period_s = _period(node)
            if model_changed:
                self.worker.load(self.engine.loader(stream))
        elif model_changed and node.auto_activate and self.situation.load_error:
            self.autostart()
        if node.image_transport != old_node.image_transport:
            for camera in self.cameras.values():
                if camera.inputs.is_open:
                    camera.inputs.open(node.image_transport)
        if self.robot.is_open and self.robot.reads_imu != self._uses_imu():
            self.robot.open(self._uses_imu())

    def _housekeeping(self) -> None:
        self._follow_demand()
        self._continue_autostart()
        if self._restore_model_parameters and self.worker is not None and self.worker.model is not None:
            # The parameters must say what runs, and that is still the model before.
            self._restore_model_parameters = False
            in_use = self.worker.model.settings
            self.situation.stream = self.situation.stream.changed(
                {name: getattr(in_use, name) for name in MODEL_FIELDS}
            )
            self.set_parameters([Parameter(name, value=getattr(in_use, name)) for name in MODEL_FIELDS])
        self.diagnostics.watch()


def _period(settings: NodeSettings) -> float:
    return 1.0 / settings.max_rate_hz if settings.max_rate_hz > 0 else 0.0
