"""Several cameras in one process against one process for each: frames a second, processor time and memory.

    python benchmarks/ros_cameras.py --cameras 4 --seconds 15 --points 20000

Both are fed faster than they can follow, by turns; a frame is a message on `depth` (with points) or `depth/relative`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT, FOCAL_PX = 640, 480, 500.0
NAMES = ("front", "left", "rear", "right", "top", "bottom", "inside", "outside")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=4, choices=range(1, len(NAMES) + 1))
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--hz", type=float, default=6.0, help="of each camera")
    parser.add_argument("--points", type=int, default=0, help="in each cloud; 0: camera only")
    parser.add_argument("--model", default="fiffdepth-mini")
    given = parser.parse_args()
    from leadline_ros.share import use_large_image_profile

    os.environ |= {"ROS_DOMAIN_ID": str(30 + os.getpid() % 150), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    use_large_image_profile()
    names = NAMES[: given.cameras]
    results: dict[str, list[dict[str, float]]] = {"one process": [], "a process each": [], "one camera": []}
    for _ in range(given.turns):
        results["one process"].append(measure([names], given))
        results["a process each"].append(measure([(name,) for name in names], given))
        results["one camera"].append(measure([names[:1]], given))
    middle = {
        who: {key: round(float(np.median([turn[key] for turn in turns])), 3) for key in turns[0]}
        for who, turns in results.items()
    }
    together, apart, alone = (middle[who] for who in results)
    ratios = {
        "frames a second, one process / a process each": round(together["frames_per_s"] / apart["frames_per_s"], 3),
        "processor time a frame, one process / a process each": round(
            together["cpu_s_per_frame"] / apart["cpu_s_per_frame"], 3
        ),
        "memory, one process / one camera": round(together["memory_mb"] / alone["memory_mb"], 3),
    }
    print(json.dumps({**middle, "ratios": ratios}, indent=2))
    return 0


def measure(processes: list[tuple[str, ...]], given: argparse.Namespace) -> dict[str, float]:
    """Frames and processor time of some processes that share the cameras."""
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(node(names, given.model)) for names in processes]
        names = [name for one in processes for name in one]
        frames, seconds, spent, fewest = feed(names, pids, given)
        return {
            "frames_per_s": frames / seconds,
            "cpu_s_per_frame": spent / max(frames, 1),
            "memory_mb": sum(memory_mb(pid, "VmRSS") for pid in pids),
            "shared_memory_mb": sum(memory_mb(pid, "RssShmem") for pid in pids),
            "fewest_of_a_camera": fewest,
        }


@contextlib.contextmanager
def node(cameras: tuple[str, ...], model: str) -> Iterator[int]:
    """A node of some cameras; its process."""
    command = [sys.executable, "-m", "leadline_ros.main", "--ros-args", "-p", f"model:={model}"]
    command += ["-p", f"cameras:=[{','.join(cameras)}]", "-r", f"__node:=depth_{cameras[0]}"]
    log = Path(tempfile.mkstemp(prefix="leadline-cameras-", suffix=".log")[1])
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        if process.wait(60) != 0:
            raise SystemExit(f"a node failed: {log.read_text()}")
    log.unlink()


def feed(names: list[str], pids: list[int], given: argparse.Namespace) -> tuple[int, float, float, int]:
    """(frames, seconds, processor seconds of the nodes, frames of the camera that got fewest) while images come."""
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

    from leadline_ros.messages import image_message

    rclpy.init()
    bench = Node("bench")
    images = [bench.create_publisher(Image, f"{name}/image", qos_profile_sensor_data) for name in names]
    infos = [bench.create_publisher(CameraInfo, f"{name}/camera_info", qos_profile_sensor_data) for name in names]
    clouds = bench.create_publisher(PointCloud2, "points", qos_profile_sensor_data)
    output = "depth" if given.points else "depth/relative"
    counts = dict.fromkeys(names, 0)

    def count(name: str) -> Any:
        def note(_: Image) -> None:
            counts[name] += 1

        return note

    for name in names:
        bench.create_subscription(Image, f"{name}/{output}", count(name), 5)
    rng = np.random.default_rng(0)
    pictures = [np.kron(rng.integers(0, 256, (30, 40, 3), np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(4)]
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [FOCAL_PX, 0.0, WIDTH / 2, 0.0, FOCAL_PX, HEIGHT / 2, 0.0, 0.0, 1.0]
    cloud = PointCloud2(height=1, width=given.points, point_step=12, row_step=12 * given.points)
    cloud.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
    cloud.data.frombytes(rng.uniform([-5, -2, 2], [5, 2, 20], (given.points, 3)).astype(np.float32).tobytes())
    info.header.frame_id = cloud.header.frame_id = "camera_optical"

    sent = 0

    def run_until(done: Any, begun: float) -> None:
        nonlocal sent
        while not done():
            if time.monotonic() >= begun + sent / given.hz:
                sent += 1
                info.header.stamp = cloud.header.stamp = bench.get_clock().now().to_msg()
                if given.points:
                    clouds.publish(cloud)
                for number in range(len(names)):
                    infos[number].publish(info)
                    images[number].publish(image_message(info.header, "rgb8", pictures[(number + sent) % 4]))
            rclpy.spin_once(bench, timeout_sec=0.005)

    begun = time.monotonic()
    run_until(lambda: min(counts.values()) > 2 or time.monotonic() > begun + 240, begun)
    before, started, spent = sum(counts.values()), time.monotonic(), sum(map(cpu_s, pids))
    each = dict(counts)
    run_until(lambda: time.monotonic() > started + given.seconds, begun)
    frames, seconds = sum(counts.values()) - before, time.monotonic() - started
    spent = sum(map(cpu_s, pids)) - spent
    bench.destroy_node()
    rclpy.shutdown()
    return frames, seconds, spent, min(counts[name] - each[name] for name in names)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, kind: str) -> float:
    """Resident now; of it what processes share with each other (Fast DDS's segments)."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith(kind))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    sys.exit(main())
