"""The launch files' nodes, started for real with the arguments that `ros2 launch` would give them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launch_stand_in import nodes
from ros_bench import Bench, NodeProcess
from sensor_msgs.msg import Image


def heard(bench: Bench) -> set[str]:
    """What the node in /front is subscribed to."""
    return {name for name, _ in bench.node.get_subscriber_names_and_types_by_node("depth_node", "/front")}


def test_a_camera_by_its_own_name_with_parameters_from_the_command_line(
    bench: Bench, models: dict[str, Path], tmp_path: Path
) -> None:
    (launched,) = nodes(
        "depth_lidar.launch.py", image="/front/image_raw", points="/lidar/points", namespace="front",
        model=str(models["depthfm"]), device="cpu", camera_height_m="1.2",
    )  # fmt: skip
    node = NodeProcess(tmp_path / "node.log", *launched.ros_arguments(tmp_path))
    try:
        bench.wait_for_state("/front/depth_node", "active")
        assert bench.get("/front/depth_node", "model") == str(models["depthfm"])
        assert bench.get("/front/depth_node", "camera_height_m") == pytest.approx(1.2)
        bench.listen(Image, "/front/depth")  # the node hears its topics only while somebody wants to know
        wanted = {"/front/image_raw", "/front/camera_info", "/lidar/points"}
        assert bench.until(lambda: wanted <= heard(bench), 60.0), heard(bench)
    finally:
        assert node.stop() == 0, node.log


def test_the_demo_makes_depth_without_hardware(bench: Bench, models: dict[str, Path], tmp_path: Path) -> None:
    source, launched = nodes("demo.launch.py", model=str(models["depthfm"]), device="cpu")
    command = [sys.executable, "-m", "leadline_ros.demo_source", "--ros-args", *source.ros_arguments(tmp_path)]
    node = NodeProcess(tmp_path / "node.log", *launched.ros_arguments(tmp_path))
    camera = subprocess.Popen(command, env=dict(os.environ, OMP_NUM_THREADS="1"))
    try:
        bench.wait_for_state("/depth_node", "active")
        depth = bench.listen(Image, "/depth")
        assert bench.until(lambda: depth, 60.0), node.log
        assert depth[0].encoding == "32FC1"
    finally:
        camera.terminate()
        camera.wait(30)
        assert node.stop() == 0, node.log
