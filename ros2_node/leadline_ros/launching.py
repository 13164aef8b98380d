"""What Leadline's launch files share. Needs `launch` and `launch_ros`; the node itself does not."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from leadline_ros.share import PROFILE_VARIABLES, shared_file

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def environment() -> dict[str, str]:
    """Fast DDS for large images, unless a profile is chosen already."""
    if any(variable in os.environ for variable in PROFILE_VARIABLES):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, _shared("config/fastdds_large_images.xml"))


def common_arguments(params: str, image: str = "image") -> list[DeclareLaunchArgument]:
    """Arguments that every launch file has."""
    return _declared(
        {
            "image": (image, "Topic of the images."),
            "camera_info": ("", "Topic of the calibration; empty: camera_info beside the image topic."),
            "namespace": ("", "Namespace of the node and of its outputs."),
            "params_file": (_shared(f"config/{params}"), "YAML file with parameters of the node."),
            "model": ("", "Model; empty: as the parameter file says."),
            "device": ("", "cpu, cuda, cuda:1 ...; empty: as the parameter file says."),
            "camera_height_m": ("", "Height of the camera above flat ground; empty: as the parameter file says."),
            "auto_activate": ("true", "Configure and activate at start; false: wait for a lifecycle manager."),
            "use_sim_time": ("false", "Take the time from /clock."),
            "log_level": ("info", "Least severe level that is logged."),
        }
    )


def points_arguments(points: str = "points", sparse_depth: str = "sparse_depth") -> list[DeclareLaunchArgument]:
    """Arguments of the launch files that read measured depth."""
    return _declared(
        {
            "points": (points, "Topic of the point clouds."),
            "sparse_depth": (sparse_depth, "Topic of sparse depth images."),
        }
    )


def cameras_arguments() -> list[DeclareLaunchArgument]:
    """Arguments of the launch file for several cameras."""
    return _declared({"cameras": ("front,left,rear,right", "Names of the cameras, with commas between.")})


def depth_node(context: LaunchContext) -> list[Any]:
    """The node as the arguments say.

    Raises:
        ValueError: An argument that is true or false is neither; a number is none.
    """
    value = {name: LaunchConfiguration(name).perform(context) for name in context.launch_configurations}
    parameters: dict[str, Any] = {name: truth(name, value[name]) for name in ("auto_activate", "use_sim_time")}
    parameters |= {name: value[name] for name in ("model", "device") if value[name]}
    if value["camera_height_m"]:
        parameters["camera_height_m"] = float(value["camera_height_m"])
    cameras = [name.strip() for name in value.get("cameras", "").split(",") if name.strip()]
    if cameras:
        parameters["cameras"] = cameras
    of_cameras = [_remappings(value, ("image", "camera_info", "sparse_depth"), camera) for camera in cameras or [""]]
    remappings = [*chain.from_iterable(of_cameras), *_remappings(value, ("points",))]
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


def _remappings(value: dict[str, str], topics: tuple[str, ...], camera: str = "") -> list[tuple[str, str]]:
    """What is read from where the arguments say; `{camera}` in them is the camera's name, below which its topics stand."""
    names = {topic: f"{camera}/{topic}" if camera else topic for topic in topics}
    targets = {topic: value.get(topic, "").replace("{camera}", camera) for topic in topics}
    return [(names[topic], targets[topic]) for topic in topics if targets[topic] not in ("", topic, names[topic])]


def truth(name: str, text: str) -> bool:
    """A launch argument's text as true or false, in any of the usual spellings.

    Raises:
        ValueError: It is neither.
    """
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"{name} is {text!r}; it can be true or false")
    return word in _TRUE


def _declared(table: dict[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in table.items()
    ]


def _shared(relative: str) -> str:
    path = shared_file(relative)
    if path is None:
        raise FileNotFoundError(f"{relative} of leadline is nowhere; source the workspace it was built in")
    return str(path)
