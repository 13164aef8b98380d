"""Depth from one camera.

ros2 launch leadline depth.launch.py image:=/camera/image_raw
ros2 launch leadline depth.launch.py image:=/front/image_raw namespace:=front camera_height_m:=1.2
"""

from __future__ import annotations

import os
import sys

from launch import LaunchDescription
from launch.actions import OpaqueFunction

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from leadline_launch import common_arguments, depth_node


def generate_launch_description() -> LaunchDescription:
    """One camera; LiDAR topics are left where they are."""
    return LaunchDescription([*common_arguments("depth.yaml"), OpaqueFunction(function=depth_node)])
