"""The depth node with a synthetic camera and LiDAR: needs no hardware.

ros2 launch leadline demo.launch.py
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from leadline_ros.launching import common_arguments, depth_node, environment, points_arguments


def generate_launch_description() -> LaunchDescription:
    """A drive through a synthetic street: /camera/image_raw, /camera/camera_info and /lidar/points."""
    source = Node(
        package="leadline",
        executable="leadline_demo_source",
        name="demo_source",
        output="screen",
        additional_env=environment(),
    )
    return LaunchDescription(
        [
            *common_arguments("demo.yaml", image="/camera/image_raw"),
            *points_arguments("/lidar/points"),
            source,
            OpaqueFunction(function=depth_node),
        ]
    )
