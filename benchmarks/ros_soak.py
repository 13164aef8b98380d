"""Soak of the ROS 2 node: a 30 Hz camera and a 10 Hz LiDAR for minutes; memory, diagnostics, latency, exceptions.

    python benchmarks/ros_soak.py --minutes 10 --model depthfm-mini --size 128

Ends with 1 if memory grew, diagnostics were lost, the node logged an exception, or it did not end with 0 on Ctrl+C.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 640, 480
#: Memory is watched from here on, as a share of the run: caches have filled by then.
WARM = 0.3
LARGEST_GROWTH_MB = 20.0


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="depthfm-mini")
    parser.add_argument("--size", type=int, default=128)
    given = parser.parse_args()

    from leadline_ros.share import use_large_image_profile

    os.environ |= {"ROS_DOMAIN_ID": str(20 + os.getpid() % 180), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    use_large_image_profile()
    log = Path(tempfile.mkstemp(prefix="leadline-soak-", suffix=".log")[1])
    parameters = {"model": given.model, "size": given.size, "sync_tolerance_s": 0.06, "diagnostics_period_s": 1.0}
    command = [sys.executable, "-m", "leadline_ros.main", "--ros-args"]
    command += [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    with log.open("w") as file:
        node = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        report = soak(node.pid, 60 * given.minutes)
    finally:
        node.send_signal(signal.SIGINT)
        code = node.wait(30)
    text = log.read_text()
    report |= {"exit_code": code, "exceptions": text.count("Traceback"), "log": str(log)}
    failures = [
        name
        for name, failed in {
            "memory grew": report["memory_growth_mb"] > LARGEST_GROWTH_MB,
            "diagnostics were lost": report["diagnostics"] < 0.95 * report["diagnostics_expected"],
            "an exception was logged": report["exceptions"] > 0,
            "it did not end with 0": code != 0,
            "nothing was published": report["depth_messages"] == 0,
        }.items()
        if failed
    ]
    print(json.dumps({**report, "failures": failures}, indent=2))
    return 1 if failures else 0


def soak(pid: int, seconds: float) -> dict[str, object]:
    """Publish, listen and watch for a while."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

    from leadline_ros.messages import image_message

    rclpy.init()
    bench = Node("soak")
    images = bench.create_publisher(Image, "image", qos_profile_sensor_data)
    infos = bench.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
    clouds = bench.create_publisher(PointCloud2, "points", qos_profile_sensor_data)
    depth_ages: list[float] = []
    diagnostics: list[DiagnosticArray] = []
    bench.create_subscription(Image, "depth", lambda m: depth_ages.append(_age_s(bench, m)), 5)
    bench.create_subscription(Image, "depth/uncertainty", lambda m: None, 5)
    bench.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, 50)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(8)]
    focal = 500.0
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [focal, 0.0, WIDTH / 2, 0.0, focal, HEIGHT / 2, 0.0, 0.0, 1.0]
    points = rng.uniform([-5, -2, 2], [5, 2, 20], (30_000, 3)).astype(np.float32)
    cloud = PointCloud2(height=1, width=len(points), point_step=12, row_step=12 * len(points))
    cloud.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
    cloud.data.frombytes(points.tobytes())
    info.header.frame_id = cloud.header.frame_id = "camera_optical"

    waited = time.monotonic() + 180
    while not depth_ages and time.monotonic() < waited:  # until the model is loaded
        _send(bench, images, infos, clouds, info, cloud, image_message, frames, 0)
        rclpy.spin_once(bench, timeout_sec=0.05)
    diagnostics.clear()
    depth_ages.clear()
    start = time.monotonic()
    sent, memory, next_sample = 0, [], start
    while time.monotonic() < start + seconds:
        if time.monotonic() >= start + sent / 30:
            _send(bench, images, infos, clouds, info, cloud, image_message, frames, sent)
            sent += 1
        if time.monotonic() >= next_sample:
            next_sample += 5.0
            memory.append(memory_mb(pid))
        rclpy.spin_once(bench, timeout_sec=0.003)
    last = {v.key: v.value for s in diagnostics[-1].status for v in s.values} if diagnostics else {}
    watched = np.array(memory[int(WARM * len(memory)) :])
    slope = np.polyfit(np.arange(len(watched)), watched, 1)[0] * len(watched) if len(watched) > 3 else 0.0
    bench.destroy_node()
    rclpy.shutdown()
    half = len(depth_ages) // 2
    return {
        "seconds": round(seconds),
        "images_sent": sent,
        "depth_messages": len(depth_ages),
        "age_median_ms_first_half": _median_ms(depth_ages[:half]),
        "age_median_ms_second_half": _median_ms(depth_ages[half:]),
        "memory_mb_first_and_last": [round(float(watched[0])), round(float(watched[-1]))] if len(watched) else [],
        "memory_growth_mb": round(float(slope), 1),
        "diagnostics": len(diagnostics),
        "diagnostics_expected": int(seconds),
        **{
            key: last.get(key, "")
            for key in ("frames processed", "frames failed", "frames dropped", "model median (ms)")
        },
    }


def _send(bench, images, infos, clouds, info, cloud, image_message, frames, number) -> None:  # type: ignore[no-untyped-def]
    stamp = bench.get_clock().now().to_msg()
    info.header.stamp = cloud.header.stamp = stamp
    infos.publish(info)
    if number % 3 == 0:
        clouds.publish(cloud)
    images.publish(image_message(info.header, "rgb8", frames[number % len(frames)]))


def _age_s(bench, message) -> float:  # type: ignore[no-untyped-def]
    stamp = message.header.stamp
    return bench.get_clock().now().nanoseconds * 1e-9 - stamp.sec - stamp.nanosec * 1e-9


def _median_ms(values: list[float]) -> float | None:
    return round(1e3 * float(np.median(values)), 1) if values else None


if __name__ == "__main__":
    sys.exit(main())
