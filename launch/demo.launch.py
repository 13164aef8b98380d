"""The depth node with a synthetic camera and LiDAR: needs no hardware.

ros2 launch leadline demo.launch.py
"""

from __future__ import annotations

import os
import sys

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from leadline_launch import common_arguments, depth_node, environment


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
            DeclareLaunchArgument("points", default_value="/lidar/points", description="Topic of the point clouds."),
            DeclareLaunchArgument(
                "sparse_depth", default_value="sparse_depth", description="Topic of sparse depth images."
            ),
            source,
            OpaqueFunction(function=depth_node),
        ]
    )
