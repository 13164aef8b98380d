"""Depth from one camera.

ros2 launch leadline depth.launch.py image:=/camera/image_raw
ros2 launch leadline depth.launch.py image:=/front/image_raw namespace:=front camera_height_m:=1.2
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from leadline_ros.launching import common_arguments, depth_node


def generate_launch_description() -> LaunchDescription:
    """One camera; LiDAR topics are left where they are."""
    return LaunchDescription([*common_arguments("depth.yaml"), OpaqueFunction(function=depth_node)])
