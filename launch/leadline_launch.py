"""What Leadline's launch files share. Not a launch file itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parents[1]
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def environment() -> dict[str, str]:
    """Fast DDS for large images, unless a profile is chosen already."""
    if any(variable in os.environ for variable in PROFILE_VARIABLES):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, str(SHARE / "config" / "fastdds_large_images.xml"))


def common_arguments(params: str, image: str = "image") -> list[DeclareLaunchArgument]:
    """Arguments that every launch file has."""
    declared = {
        "image": (image, "Topic of the images."),
        "camera_info": ("", "Topic of the calibration; empty: camera_info beside the image topic."),
        "namespace": ("", "Namespace of the node and of its outputs."),
        "params_file": (str(SHARE / "config" / params), "YAML file with parameters of the node."),
        "model": ("", "Model; empty: as the parameter file says."),
        "device": ("", "cpu, cuda, cuda:1 ...; empty: as the parameter file says."),
        "camera_height_m": ("", "Height of the camera above flat ground; empty: as the parameter file says."),
        "auto_activate": ("true", "Configure and activate at start; false: wait for a lifecycle manager."),
        "use_sim_time": ("false", "Take the time from /clock."),
        "log_level": ("info", "Least severe level that is logged."),
    }
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in declared.items()
    ]


def depth_node(context: LaunchContext) -> list[Any]:
    """The node as the arguments say."""
    value = {name: LaunchConfiguration(name).perform(context) for name in context.launch_configurations}
    parameters: dict[str, Any] = {name: value[name] == "true" for name in ("auto_activate", "use_sim_time")}
    parameters |= {name: value[name] for name in ("model", "device") if value[name]}
    if value["camera_height_m"]:
        parameters["camera_height_m"] = float(value["camera_height_m"])
    topics = ("image", "camera_info", "points", "sparse_depth")
    remappings = [(name, value[name]) for name in topics if value.get(name) not in (None, "", name)]
    return [
        Node(
            package="leadline",
            executable="depth_node",
            name="depth_node",
            namespace=value["namespace"],
            parameters=[value["params_file"], parameters],
            remappings=remappings,
            arguments=["--ros-args", "--log-level", value["log_level"]],
            additional_env=environment(),
            output="screen",
            emulate_tty=True,
        )
    ]
