"""A camera and a LiDAR that need no hardware: a rendered street, looked at through a window that swings sideways."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sin
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640, 384
SCENE_WIDTH = 960
CAMERA_HZ, LIDAR_HZ = 15.0, 10.0
LIDAR_LINES = 32
LIDAR_NOISE_M = 0.02
SWING_S = 12.0

#: LiDAR axes (x forward, y left, z up) to optical axes (x right, y down, z forward); the sensors stand in one place.
LIDAR_TO_CAMERA = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Street:
    """A wide picture with exact depth (0 for sky) and its intrinsics."""

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    matrix: npt.NDArray[np.float64]

    @classmethod
    def rendered(cls, seed: int) -> Street:
        """A street of Leadline's procedural scenes."""
        from leadline.scenes import render_scenes  # noqa: PLC0415  (torch)

        scene = render_scenes(seed, 1, HEIGHT, SCENE_WIDTH, layout="street")
        return cls(scene.rgb[0].numpy(), scene.depth_m[0].numpy(), scene.intrinsics[0].numpy().astype(np.float64))

    def window(self, time_s: float, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """(picture with sensor noise, intrinsics) of the window at a time: an off-centre pinhole, so depth stays exact."""
        left = round((SCENE_WIDTH - WIDTH) * (0.5 + 0.5 * sin(2 * pi * time_s / SWING_S)))
        view = self.rgb[:, left : left + WIDTH].astype(np.int16) + rng.integers(-2, 3, (HEIGHT, WIDTH, 1), np.int16)
        matrix = self.matrix.copy()
        matrix[0, 2] -= left
        return np.clip(view, 0, 255).astype(np.uint8), matrix

    def sweep(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """One turn of the LiDAR over the whole picture: float32 (N, 3) in its own axes."""
        rows = np.linspace(0.25 * HEIGHT, HEIGHT - 1, LIDAR_LINES).round().astype(int)
        columns = np.arange(0, SCENE_WIDTH, 3)
        v, u = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
        seen = self.depth_m[v, u] > 0
        v, u = v[seen], u[seen]
        depth = self.depth_m[v, u] + rng.normal(0, LIDAR_NOISE_M, len(v))
        rays = np.linalg.solve(self.matrix, np.stack([u, v, np.ones(len(u))]))
        return np.ascontiguousarray(((rays * depth).T @ LIDAR_TO_CAMERA).astype(np.float32))


def _frames(street: Street, rng: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    number = 0
    while True:
        yield street.window(number / CAMERA_HZ, rng)
        number += 1


def main() -> NoReturn:
    """Publish until asked to end."""
    import rclpy  # noqa: PLC0415
    from rclpy.node import Node  # noqa: PLC0415
    from rclpy.qos import qos_profile_sensor_data  # noqa: PLC0415
    from rclpy.signals import SignalHandlerOptions  # noqa: PLC0415
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField  # noqa: PLC0415
    from std_msgs.msg import Header  # noqa: PLC0415

    from leadline_ros.main import end_now, stop_on_signals  # noqa: PLC0415
    from leadline_ros.messages import image_message  # noqa: PLC0415

    stop = threading.Event()
    stop_on_signals(stop)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("demo_source")
    images = node.create_publisher(Image, "/camera/image_raw", qos_profile_sensor_data)
    infos = node.create_publisher(CameraInfo, "/camera/camera_info", qos_profile_sensor_data)
    clouds = node.create_publisher(PointCloud2, "/lidar/points", qos_profile_sensor_data)
    node.get_logger().info("rendering a street, this takes a few seconds")
    street = Street.rendered(node.declare_parameter("seed", 3).value)
    rng = np.random.default_rng(0)
    frames = _frames(street, rng)

    def header(frame: str) -> Header:
        return Header(stamp=node.get_clock().now().to_msg(), frame_id=frame)

    def camera() -> None:
        rgb, matrix = next(frames)
        head = header("camera_optical")
        k = matrix.ravel().tolist()
        p = np.column_stack([matrix, np.zeros(3)]).ravel().tolist()
        infos.publish(
            CameraInfo(
                header=head, width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k, p=p,
                r=np.eye(3).ravel().tolist(),
            )
        )  # fmt: skip
        images.publish(image_message(head, "rgb8", rgb))

    def lidar() -> None:
        points = street.sweep(rng)
        fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
        message = PointCloud2(
            header=header("lidar"), height=1, width=len(points), fields=fields, point_step=12,
            row_step=12 * len(points), is_dense=True,
        )  # fmt: skip
        message.data.frombytes(points.tobytes())
        clouds.publish(message)

    node.create_timer(1 / CAMERA_HZ, camera)
    node.create_timer(1 / LIDAR_HZ, lidar)
    node.get_logger().info("publishing /camera/image_raw, /camera/camera_info and /lidar/points")
    while rclpy.ok() and not stop.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.try_shutdown()
    end_now(0)


if __name__ == "__main__":
    main()
