"""Depth from one camera, completed with a LiDAR.

ros2 launch leadline depth_lidar.launch.py image:=/camera/image_raw points:=/lidar/points
"""

from __future__ import annotations

import os
import sys

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from leadline_launch import common_arguments, depth_node


def generate_launch_description() -> LaunchDescription:
    """Camera and LiDAR; the motion between them comes from TF or from `extrinsics` in the parameter file."""
    return LaunchDescription(
        [
            *common_arguments("lidar.yaml"),
            DeclareLaunchArgument("points", default_value="points", description="Topic of the point clouds."),
            DeclareLaunchArgument(
                "sparse_depth", default_value="sparse_depth", description="Topic of sparse depth images."
            ),
            OpaqueFunction(function=depth_node),
        ]
    )
