"""Depth from one camera, completed with a LiDAR.

ros2 launch leadline depth_lidar.launch.py image:=/camera/image_raw points:=/lidar/points
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from leadline_ros.launching import common_arguments, depth_node, points_arguments


def generate_launch_description() -> LaunchDescription:
    """Camera and LiDAR; the motion between them comes from TF or from `extrinsics` in the parameter file."""
    return LaunchDescription(
        [*common_arguments("lidar.yaml"), *points_arguments(), OpaqueFunction(function=depth_node)]
    )
