"""Depth from several cameras with one model in one process, with or without a LiDAR.

ros2 launch leadline depth_cameras.launch.py cameras:=front,left,rear,right points:=/lidar/points
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from leadline_ros.launching import cameras_arguments, common_arguments, depth_node, points_arguments


def generate_launch_description() -> LaunchDescription:
    """Images from /NAME/image_raw of each camera, unless `image` says otherwise."""
    return LaunchDescription(
        [
            *cameras_arguments(),
            *common_arguments("lidar.yaml", image="/{camera}/image_raw"),
            *points_arguments(sparse_depth="{camera}/sparse_depth"),
            OpaqueFunction(function=depth_node),
        ]
    )
