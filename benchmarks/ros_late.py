"""Sweeps that come late beside a camera: how many frames are metric, and how right those between two sweeps are.

    python benchmarks/ros_late.py node        # a KITTI frame through the node with the shipped lidar.yaml; two minutes
    python benchmarks/ros_late.py between     # rendered streets, moving, with odometry and without; a minute

node: the cloud is stamped with its image and published 0 to 120 ms later, at 10 Hz; the camera has 10 and 30 Hz. Frames count from the
first metric one on. It needs the frame's folder (LEADLINE_EVAL_DEV, else shared/eval_dev beside the repository). Ends with 1 if under 95 % of a row's
frames are metric.
between: sweeps of 10 Hz and images of 30 Hz, the mini model. Ends with 1 if the frames between sweeps have more than 1.5 times the AbsRel of
those with one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import leadline.threads

ROOT = Path(__file__).resolve().parents[1]
FRAME = Path(os.environ.get("LEADLINE_EVAL_DEV", ROOT.parent / "shared" / "eval_dev")) / "lidar_kitti_000000"
LATE_S, CAMERA_HZ, LIDAR_HZ = (0.0, 0.04, 0.08, 0.12), (10, 30), 10
START_S = 240.0
SEEDS, FRAMES = (3, 5, 11, 12), 10
#: What has to hold.
METRIC, WORSE = 0.95, 1.5


class Sensors:
    """Sends one frame again and again, and notes which images were answered, and by what."""

    def __init__(self) -> None:
        from rclpy.node import Node
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

        calibration = json.loads((FRAME / "calib.json").read_text())["equivalent"]
        self._node = Node("sensors")
        self._images, self._infos, self._clouds = (
            self._node.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in ((Image, "image"), (CameraInfo, "camera_info"), (PointCloud2, "points"))
        )
        for topic, answered in (("depth", "metric"), ("depth/relative", "all")):
            self._node.create_subscription(Image, topic, lambda m, to=answered: self._note(to, m.header.stamp), 20)
        self._rgb = np.ascontiguousarray(cv2.imread(str(FRAME / "image_native.jpg"))[..., ::-1])
        height, width = self._rgb.shape[:2]
        self._info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
        self._info.k = np.array(calibration["K"]).ravel().tolist()
        self._info.header.frame_id = "camera_optical"
        points = np.ascontiguousarray(np.load(FRAME / "points.npz")["points"][:, :3], np.float32)
        self._cloud = PointCloud2(height=1, width=len(points), point_step=12, row_step=12 * len(points))
        self._cloud.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
        self._cloud.data.frombytes(points.tobytes())
        self._cloud.header.frame_id = "velodyne"
        self.extrinsics = np.array(calibration["T_lidar_to_cam2"]).ravel().tolist()
        self._answers: dict[str, set[int]] = {"metric": set(), "all": set()}

    def _note(self, kind: str, stamp: Any) -> None:
        self._answers[kind].add(stamp.sec * 10**9 + stamp.nanosec)

    def drive(self, seconds: float, hz: int, late_s: float, wait_s: float = 0.0) -> tuple[int, int]:
        """(frames, metric ones) of ``seconds`` from the first metric frame on, which may take ``wait_s``."""
        import rclpy

        from leadline_ros.messages import image_message

        for answers in self._answers.values():
            answers.clear()
        begun = start = time.monotonic()
        sent, under_way = 0, []
        while time.monotonic() < begun + seconds:
            now_s = time.monotonic()
            if not self._answers["metric"] and now_s < start + wait_s:
                begun = now_s
            if now_s >= start + sent / hz:
                self._info.header.stamp = self._node.get_clock().now().to_msg()
                self._infos.publish(self._info)
                self._images.publish(image_message(self._info.header, "rgb8", self._rgb))
                if sent % (hz // LIDAR_HZ) == 0:
                    under_way.append((start + sent / hz + late_s, self._info.header.stamp))
                sent += 1
            while under_way and time.monotonic() >= under_way[0][0]:
                self._cloud.header.stamp = under_way.pop(0)[1]
                self._clouds.publish(self._cloud)
            rclpy.spin_once(self._node, timeout_sec=0.002)
        metric = self._answers["metric"]
        frames = {stamp for stamp in self._answers["all"] if metric and stamp >= min(metric)}
        return len(frames), len(frames & metric)


def through_node(seconds: float, model: str) -> int:
    """1 if a row has too few metric frames."""
    import rclpy

    from leadline_ros.share import use_large_image_profile

    os.environ |= {"ROS_DOMAIN_ID": str(20 + os.getpid() % 180), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    use_large_image_profile()
    rclpy.init(args=[])
    sensors, shares = Sensors(), []
    command = [
        sys.executable,
        "-m",
        "leadline_ros.main",
        "--ros-args",
        "--params-file",
        str(ROOT / "config/lidar.yaml"),
    ]
    node = subprocess.Popen([*command, "-p", f"model:={model}", "-p", f"extrinsics:={sensors.extrinsics}"])
    try:
        sensors.drive(1.0, 10, 0.0, START_S)
        print("| camera, Hz | cloud late, ms | frames | metric |\n|---|---|---|---|")
        for hz in CAMERA_HZ:
            for late_s in LATE_S:
                sensors.drive(2.0, hz, late_s)  # so that the rhythm of the sweeps is known
                frames, metric = sensors.drive(seconds, hz, late_s)
                shares.append(metric / max(frames, 1))
                print(f"| {hz} | {1e3 * late_s:.0f} | {frames} | {shares[-1]:.1%} |", flush=True)
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)
        rclpy.shutdown()
    return int(min(shares) < METRIC)


def between_sweeps(model: str) -> int:
    """1 if frames between sweeps are much worse than those with one."""
    import yaml

    import leadline
    from leadline.streaming.evidence import ScaleSource
    from leadline.streaming.settings import StreamSettings
    from leadline.streaming.surroundings import Surroundings

    sys.path.insert(0, str(ROOT / "tests" / "streaming"))
    from drive import Drive, header, rel_error

    shipped = yaml.safe_load((ROOT / "config" / "lidar.yaml").read_text())["/**"]["ros__parameters"]
    settings, estimator, worst = StreamSettings(model=model, **shipped), leadline.load(model), 0.0
    print("| street | by | AbsRel with a sweep | between sweeps | ratio |\n|---|---|---|---|---|")
    for seed in SEEDS:
        drive = Drive.rendered(seed, FRAMES)
        maps = [estimator.predict(drive.rgb(index)) for index in range(len(drive))]
        for by in ("odometry", "images"):
            around, source = Surroundings(lambda kind, error: print(kind, error, file=sys.stderr)), ScaleSource()
            around.add_transforms(drive.mounting(), is_static=True)
            around.info = drive.info(0)
            errors: dict[bool, list[float]] = {True: [], False: []}
            for index in range(len(drive)):
                if by == "odometry":
                    around.add_transforms(drive.odometry(index), is_static=False)
                if index % 3 == 0:
                    around.add_points(drive.cloud(index))
                frame = around.frame(header(drive.stamp_ns(index), "optical"), drive.rgb(index), around.info, settings)
                found = source.metric(frame, maps[index], settings)
                assert found.prediction is not None, found.reason
                depth_m = found.prediction.evident_depth_m
                errors[index % 3 == 0].append(rel_error(depth_m, drive.depth_m(index)))
            measured, carried = float(np.mean(errors[True])), float(np.mean(errors[False]))
            worst = max(worst, carried / measured)
            print(f"| {seed} | {by} | {measured:.4f} | {carried:.4f} | {carried / measured:.2f} |", flush=True)
    return int(worst > WORSE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["node", "between"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row of `node`")
    parser.add_argument("--model", default="fiffdepth-mini")
    given = parser.parse_args()
    leadline.threads.prepare()
    return through_node(given.seconds, given.model) if given.what == "node" else between_sweeps(given.model)


if __name__ == "__main__":
    sys.exit(main())
