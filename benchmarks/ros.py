"""What the ROS 2 node costs beside the model, per frame, and how many large images arrive between two processes.

    python benchmarks/ros.py overhead      # conversion, projection, encoding, messages: 1280x720, then with a cloud
    python benchmarks/ros.py transport     # 1080p best effort at 30 Hz, stock Fast DDS and with the shipped profile

Ratios and medians of one run on one machine; run it on an idle one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, HEIGHT = 1280, 720
POINTS = 120_000
REPEATS = 60


def milliseconds(function: Callable[[], Any], repeats: int = REPEATS) -> dict[str, float]:
    """Median wall and CPU time of ``repeats`` calls after three that do not count.

    CPU time (of all threads) hardly depends on what else runs on the machine.
    """
    for _ in range(3):
        function()
    wall, cpu = [], []
    for _ in range(repeats):
        started, worked = time.perf_counter(), time.process_time()
        function()
        wall.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - worked))
    return {"median_ms": round(float(np.median(wall)), 3), "median_cpu_ms": round(float(np.median(cpu)), 3)}


def overhead() -> dict[str, Any]:
    """Every step that a frame takes in the node apart from the network and the fusion."""
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
    from std_msgs.msg import Header

    from leadline.inference.allocator import keep_large_blocks
    from leadline.streaming.measured import measured_points
    from leadline.streaming.pipeline import published
    from leadline.streaming.ros.messages import rgb_of
    from leadline.streaming.settings import StreamSettings
    from leadline.streaming.surroundings import Surroundings
    from leadline_ros.messages import image_message

    keep_large_blocks()
    rng = np.random.default_rng(0)
    settings = StreamSettings(max_depth_m=40.0)
    header = Header(frame_id="camera_optical")
    header.stamp.sec = 1000
    wire_image = serialize_message(image_message(header, "bgr8", rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)))
    focal = 900.0
    k = [focal, 0.0, WIDTH / 2, 0.0, focal, HEIGHT / 2, 0.0, 0.0, 1.0]
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
    points = np.column_stack(
        [rng.uniform(-30, 30, POINTS), rng.uniform(-3, 3, POINTS), rng.uniform(-60, 60, POINTS), np.ones(POINTS)]
    ).astype(np.float32)
    cloud = PointCloud2(header=header, height=1, width=POINTS, point_step=16, row_step=16 * POINTS)
    cloud.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(["x", "y", "z", "i"])]
    cloud.data.frombytes(points.tobytes())
    wire_cloud = serialize_message(cloud)
    metric = _some_prediction(rng)
    problems: list[str] = []
    bare, with_cloud = (Surroundings(lambda s, e: problems.append(f"{s}: {e}")) for _ in range(2))
    bare.info = with_cloud.info = info

    def frame(surroundings: Surroundings) -> Any:
        message = deserialize_message(wire_image, Image)
        rgb = rgb_of(message)
        return surroundings.frame(message.header, rgb, surroundings.info_for(rgb), settings)

    def answer() -> None:
        depth_m, sigma_m = published(metric, settings)
        for values in (depth_m, sigma_m):
            serialize_message(image_message(header, "32FC1", values))

    def camera_only() -> None:
        frame(bare)
        answer()

    def with_lidar() -> None:
        with_cloud.add_points(deserialize_message(wire_cloud, PointCloud2))
        measured, reason = measured_points(frame(with_cloud), settings)
        assert measured is not None, reason
        answer()

    result = {
        "image": f"{WIDTH}x{HEIGHT} bgr8 in; depth and uncertainty 32FC1 out; both ways serialised",
        "camera": milliseconds(camera_only),
        f"camera and {POINTS} points": milliseconds(with_lidar),
        "parts": {
            "image: deserialise and convert": milliseconds(lambda: frame(bare)),
            "depth and uncertainty: limits, messages, serialise": milliseconds(answer),
        },
    }
    assert not problems, problems
    return result


def _some_prediction(rng: np.random.Generator) -> Any:
    from leadline.depth.prediction import DepthPrediction
    from leadline.depth.spaces import Space

    depth = (np.linspace(60, 1, HEIGHT)[:, None] + rng.normal(0, 0.3, (HEIGHT, WIDTH))).astype(np.float32)
    return DepthPrediction(depth, Space.DEPTH, uncertainty=0.05 * depth, metric=True)


def transport(
    seconds: float = 10.0, hz: float = 30.0, setups: tuple[str, ...] = ("stock Fast DDS", "shipped profile")
) -> dict[str, Any]:
    """Images that arrive of those sent, stock and with the profile, in two processes each."""
    from leadline_ros.share import PROFILE_VARIABLES, shared_file

    results = {}
    for name in setups:
        environment = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES}
        environment |= {"ROS_DOMAIN_ID": str(30 + os.getpid() % 150), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        if name == "shipped profile":
            environment |= dict.fromkeys(PROFILE_VARIABLES, str(shared_file("config/fastdds_large_images.xml")))
        command = [sys.executable, __file__, "--seconds", str(seconds), "--hz", str(hz)]
        reader = subprocess.Popen([*command, "_read"], env=environment, stdout=subprocess.PIPE, text=True)
        writer = subprocess.run([*command, "_write"], env=environment, stdout=subprocess.PIPE, text=True, check=True)
        out, _ = reader.communicate(timeout=60)
        sent, got = json.loads(writer.stdout), json.loads(out)
        results[name] = {**sent, **got, "arrived": round(got["received"] / max(sent["sent"], 1), 3)}
    return {"image": f"1920x1080 rgb8, best effort, keep last 2 (as the node reads), {hz:g} Hz", **results}


def _write(seconds: float, hz: float) -> None:
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from leadline_ros.messages import image_message

    rclpy.init()
    node = Node("writer")
    publisher = node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    waited = time.monotonic() + 20
    while publisher.get_subscription_count() == 0 and time.monotonic() < waited:
        time.sleep(0.05)
    time.sleep(1.0)
    message = image_message(Image().header, "rgb8", np.zeros((1080, 1920, 3), np.uint8))
    sent, start = 0, time.monotonic()
    while sent < hz * seconds:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent += 1
        time.sleep(max(0.0, start + sent / hz - time.monotonic()))
    took = time.monotonic() - start
    time.sleep(1.0)
    print(json.dumps({"sent": sent, "sent_hz": round(sent / took, 1)}))
    node.destroy_node()
    rclpy.shutdown()


def _read(seconds: float) -> None:
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from leadline.inference.allocator import keep_large_blocks

    keep_large_blocks()
    rclpy.init()
    node = Node("reader")
    latencies: list[float] = []

    def take(message: Image) -> None:
        stamp = message.header.stamp
        latencies.append(node.get_clock().now().nanoseconds * 1e-6 - stamp.sec * 1e3 - stamp.nanosec * 1e-6)

    node.create_subscription(Image, "image", take, QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT))
    last, end = time.monotonic(), time.monotonic() + seconds + 40
    count = 0
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)
        if len(latencies) != count:
            count, last = len(latencies), time.monotonic()
        elif count and time.monotonic() - last > 3.0:
            break
    found = {"received": count, "latency_median_ms": round(float(np.median(latencies)), 1) if count else None}
    print(json.dumps(found))
    node.destroy_node()
    rclpy.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "transport", "_read", "_write"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--hz", type=float, default=30.0)
    given = parser.parse_args()
    if given.what in ("_read", "_write"):
        _read(given.seconds) if given.what == "_read" else _write(given.seconds, given.hz)
    else:
        print(json.dumps(overhead() if given.what == "overhead" else transport(given.seconds, given.hz), indent=2))


if __name__ == "__main__":
    main()
