"""A camera, with or without a LiDAR, through the ROS 2 node: frames that were dropped, and how old depth is when it arrives.

    python benchmarks/ros_stream.py --hz 20 --minutes 5 -p speed:=realtime -p size:=320
    python benchmarks/ros_stream.py --hz 10 --minutes 5 --points 20000 -p speed:=realtime -p size:=320

The node is a process of its own; images of 640×480 are sent and depth is received by this one. The images are a rendered film that is
shown to and fro, the points what a LiDAR of 32 rings in the camera's place would see of it. Ends with 1 if a frame was dropped or
95 % of the frames were older than --p95-ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import leadline.threads

WIDTH, HEIGHT = 640, 480
#: Of the film, and of the LiDAR.
FRAMES, RINGS, SEED = 24, 32, 3
#: Depth maps before frames count.
WARM_UPS = 10


def ring_points(frame: Any, points: int) -> Any:
    """float32 (about ``points``, 3), metres in the camera's axes: the film's depth along rings of equal elevation."""
    rows = np.linspace(0.05 * HEIGHT, 0.95 * HEIGHT, RINGS).astype(int)
    columns = np.linspace(0, WIDTH - 1, max(1, points // RINGS)).astype(int)
    v, u = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    depth_m = np.where(frame.valid[v, u], frame.depth_m[v, u], 0.0)
    seen = depth_m > 0.0
    pixels = np.stack([u, v, np.ones_like(u)])[:, seen]
    return (np.linalg.inv(frame.intrinsics) @ pixels * depth_m[seen]).T.astype(np.float32)


class Camera:
    """Sends numbered images, with camera_info and clouds, and notes when the depth of each comes back.

    Args:
        points: In each cloud; 0: no LiDAR, relative depth.
        pictures: Of the film.
    """

    def __init__(self, points: int, pictures: int) -> None:
        from rclpy.node import Node
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

        from leadline.scenes.film import render_film

        self._bench = Node("camera")
        self._images, self._infos, self._clouds = (
            self._bench.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in ((Image, "image"), (CameraInfo, "camera_info"), (PointCloud2, "points"))
        )
        self._bench.create_subscription(Image, "depth" if points else "depth/relative", self._take, 20)
        film = list(render_film(SEED, pictures, HEIGHT, WIDTH, movers=1))
        self._film = [*film, *film[-2:0:-1]]
        self._info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
        self._info.k = film[0].intrinsics.ravel().tolist()
        self._info.header.frame_id = "camera_optical"
        fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
        self._clouds_seen: list[Any] = []
        for frame in self._film if points else ():
            seen = ring_points(frame, points)
            cloud = PointCloud2(height=1, width=len(seen), point_step=12, row_step=12 * len(seen), fields=fields)
            cloud.data.frombytes(seen.tobytes())
            self._clouds_seen.append(cloud)
        self._numbers: dict[int, int] = {}
        #: Of each image that was sent, the age in seconds of its depth when it came; None so far.
        self.ages: list[float | None] = []

    def send(self) -> None:
        """The next image."""
        from leadline_ros.messages import image_message

        stamp = self._bench.get_clock().now()
        self._info.header.stamp = stamp.to_msg()
        shown = len(self.ages) % len(self._film)
        message = image_message(self._info.header, "rgb8", self._film[shown].rgb)
        self._numbers[int(stamp.nanoseconds)] = len(self.ages)
        self.ages.append(None)
        self._infos.publish(self._info)
        if self._clouds_seen:
            self._clouds_seen[shown].header = self._info.header
            self._clouds.publish(self._clouds_seen[shown])
        self._images.publish(message)

    def listen_until(self, moment: float) -> None:
        """Until ``time.monotonic()`` says ``moment``."""
        import rclpy

        while (left := moment - time.monotonic()) > 0.0:
            rclpy.spin_once(self._bench, timeout_sec=left)

    def _take(self, message: Any) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if stamp in self._numbers:
            self.ages[self._numbers[stamp]] = 1e-9 * (int(self._bench.get_clock().now().nanoseconds) - stamp)


@contextlib.contextmanager
def running(points: int, parameters: list[str], wait_s: float = 180.0, pictures: int = FRAMES) -> Iterator[Camera]:
    """A camera whose first depth maps have come. Starts and ends a node.

    Args:
        points: In each cloud; 0: no LiDAR.
        parameters: Of the node, ``name:=value``.
        wait_s: For the first depth maps.
        pictures: Of the film that is shown to and fro.

    Raises:
        SystemExit: None came.
    """
    leadline.threads.prepare()  # the film is rendered by PyTorch, perhaps beside busy programs
    import rclpy

    from leadline_ros.share import use_large_image_profile

    os.environ |= {"ROS_DOMAIN_ID": str(20 + os.getpid() % 180), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    use_large_image_profile()
    command = [sys.executable, "-m", "leadline_ros.main", "--ros-args"]
    node = subprocess.Popen([*command, *(word for one in parameters for word in ("-p", one))])
    rclpy.init(args=[])
    camera = Camera(points, pictures)
    try:
        waited = time.monotonic() + wait_s
        while sum(age is not None for age in camera.ages) < WARM_UPS:
            if time.monotonic() > waited or node.poll() is not None:
                raise SystemExit("the node published no depth")
            camera.send()
            camera.listen_until(time.monotonic() + 0.25)
        yield camera
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)
        rclpy.shutdown()


def stream(
    hz: float, frames: int, points: int, parameters: list[str], wait_s: float = 180.0, pictures: int = FRAMES
) -> list[float | None]:
    """Age in seconds of each frame's depth when it arrives, None where none came; see :func:`running`.

    Args:
        hz: Of the camera, and of the LiDAR.
        frames: How many are sent.
        points: In each cloud; 0: no LiDAR.
        parameters: Of the node, ``name:=value``.
        wait_s: For the first depth maps.
        pictures: Of the film that is shown to and fro.
    """
    with running(points, parameters, wait_s, pictures) as camera:
        before, start = len(camera.ages), time.monotonic()
        for number in range(frames):
            camera.listen_until(start + number / hz)
            camera.send()
        camera.listen_until(time.monotonic() + max(1.0, 5.0 / hz))
    return camera.ages[before:]


def seconds_a_frame(hz: float, seconds: float, points: int, parameters: list[str]) -> tuple[float, float]:
    """Seconds of a node for each frame that came, and those of the camera for each that it sent; see :func:`running`.

    A camera that falls behind ``hz`` sends less and catches nothing up.
    """
    with running(points, parameters) as camera:
        start, sent = time.monotonic(), 0
        due, before = start, sum(age is not None for age in camera.ages)
        while due < start + seconds:
            camera.send()
            sent += 1
            due = max(due + 1.0 / hz, time.monotonic())
            camera.listen_until(due)
        took = time.monotonic() - start
        came = sum(age is not None for age in camera.ages) - before
    return took / max(came, 1), took / sent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--points", type=int, default=0, help="in each cloud; 0: no LiDAR")
    parser.add_argument("--p95-ms", type=float, default=100.0)
    parser.add_argument("-p", dest="parameters", action="append", default=[], help="of the node, NAME:=VALUE")
    given = parser.parse_args()
    ages = stream(given.hz, round(60 * given.minutes * given.hz), given.points, given.parameters)
    arrived = 1e3 * np.array([age for age in ages if age is not None])
    report = {
        "hz": given.hz,
        "points": given.points,
        "parameters": given.parameters,
        "frames": len(ages),
        "dropped": len(ages) - len(arrived),
        "median_ms": round(float(np.median(arrived)), 1),
        "p95_ms": round(float(np.percentile(arrived, 95)), 1),
        "worst_ms": round(float(arrived.max()), 1),
    }
    print(json.dumps(report, indent=2))
    return int(report["dropped"] > 0 or report["p95_ms"] > given.p95_ms)


if __name__ == "__main__":
    sys.exit(main())
