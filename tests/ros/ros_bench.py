"""The node in its own process, and a bench beside it that publishes, listens and calls services.

Nothing of ROS is replaced: real rclpy, real Fast DDS, confined to this machine and to a domain of this test run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from leadline_ros.share import PROFILE_VARIABLES, shared_file

DOMAIN = 20 + os.getpid() % 180
START_TIMEOUT_S = 240.0  # importing torch and diffusers takes 40 s where others hold both cores

PROFILE = str(shared_file("config/fastdds_large_images.xml"))
os.environ |= {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(DOMAIN)}
os.environ |= dict.fromkeys(PROFILE_VARIABLES, PROFILE)

WIDTH, HEIGHT = 160, 120


class NodeProcess:
    """`depth_node` as a user starts it."""

    def __init__(self, log: Path, *ros_arguments: str, **parameters: Any) -> None:
        self.log_path = log
        command = [sys.executable, "-m", "leadline_ros.main", "--ros-args", *ros_arguments]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONUNBUFFERED="1")
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT, timeout_s: float = 90.0) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the node did not end within {timeout_s} s:\n{self.log}") from None


class Bench:
    """The other side of every topic and service."""

    def __init__(self) -> None:
        rclpy.init(domain_id=DOMAIN)
        self.node = Node("bench")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._entities: list[tuple[Callable[[Any], bool], Any]] = []

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def clear(self) -> None:
        """Drop what one test made."""
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities.clear()
        self.received.clear()

    def until(
        self,
        condition: Callable[[], Any],
        timeout_s: float = 60.0,
        each: Callable[[], None] | None = None,
        every_s: float = 0.05,
    ) -> Any:
        """Spin until ``condition`` holds, calling ``each`` every ``every_s`` seconds; its value, or the last false one."""
        end, next_call = time.monotonic() + timeout_s, 0.0
        while time.monotonic() < end:
            if each is not None and time.monotonic() >= next_call:
                next_call = time.monotonic() + every_s
                each()
            self.executor.spin_once(timeout_sec=0.02)
            if value := condition():
                return value
        return condition()

    def publisher(self, kind: type, topic: str, reliable: bool = True, depth: int = 5) -> Any:
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        publisher = self.node.create_publisher(kind, topic, QoSProfile(depth=depth, reliability=reliability))
        self._entities.append((self.node.destroy_publisher, publisher))
        return publisher

    def listen(self, kind: type, topic: str, reliable: bool = True, depth: int = 10) -> list[Any]:
        """The list into which everything from ``topic`` goes."""
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        messages = self.received[topic]
        subscription = self.node.create_subscription(
            kind, topic, messages.append, QoSProfile(depth=depth, reliability=reliability)
        )
        self._entities.append((self.node.destroy_subscription, subscription))
        return messages

    def call(self, kind: type, name: str, request: Any, timeout_s: float = START_TIMEOUT_S) -> Any:
        client = self.node.create_client(kind, name)
        try:
            assert self.until(client.service_is_ready, 60.0), f"no service {name}"
            future = client.call_async(request)
            assert self.until(future.done, timeout_s), f"no answer from {name}"
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change_state(self, node: str, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str) -> str:
        for _ in range(
            int(START_TIMEOUT_S / 10.0)
        ):  # a request sent while discovery is under way may be lost: ask again
            try:
                answer = self.call(GetState, f"{node}/get_state", GetState.Request(), timeout_s=10.0)
                return str(answer.current_state.label)
            except AssertionError as error:
                if "no answer" not in str(error):
                    raise
        raise AssertionError(f"no answer from {node}/get_state")

    def wait_for_state(self, node: str, label: str, timeout_s: float = START_TIMEOUT_S) -> None:
        end = time.monotonic() + timeout_s
        seen = ""
        while time.monotonic() < end and seen != label:
            seen = self.state(node)
            self.until(lambda: False, 0.1)
        assert seen == label

    def set(self, node: str, **values: Any) -> list[tuple[bool, str]]:
        """Set parameters; (accepted, reason) of each."""
        request = SetParameters.Request(
            parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        )
        results = self.call(SetParameters, f"{node}/set_parameters", request).results
        return [(result.successful, result.reason) for result in results]

    def get(self, node: str, name: str) -> Any:
        values = self.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values
        return rclpy.parameter.parameter_value_to_python(values[0])

    def describe(self, node: str, *names: str) -> list[Any]:
        request = DescribeParameters.Request(names=list(names))
        return list(self.call(DescribeParameters, f"{node}/describe_parameters", request).descriptors)

    def trigger(self, name: str) -> Any:
        return self.call(Trigger, name, Trigger.Request())

    def now(self) -> Any:
        return self.node.get_clock().now().to_msg()


def scene(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Blobs, RGB uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(small, np.ones((20, 20, 1), np.uint8)))


def image(bench: Bench, rgb: np.ndarray | None = None, frame_id: str = "camera_optical") -> Image:
    """An rgb8 message taken now."""
    rgb = scene() if rgb is None else rgb
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=rgb.shape[1] * 3)
    message.header.stamp, message.header.frame_id = bench.now(), frame_id
    message.data.frombytes(rgb.tobytes())
    return message


def camera_info(width: int = WIDTH, height: int = HEIGHT, focal_px: float = 120.0) -> CameraInfo:
    """A pinhole with the principal point in the middle."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    k = [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0]
    p = [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5, k=k, p=p)


def pixels(message: Image, dtype: Any = np.float32) -> np.ndarray:
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, -1).squeeze(-1)
