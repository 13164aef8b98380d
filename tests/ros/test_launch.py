"""The launch files, read with a stand-in for `launch`: what they declare and which nodes they start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from launch_stand_in import LAUNCH, declared, nodes
from places import ROOT

from leadline_ros.share import PROFILE_VARIABLES

FILES = sorted(path.name for path in LAUNCH.glob("*.launch.py"))


@pytest.fixture(autouse=True)
def no_profile_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PROFILE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_there_are_launch_files_for_what_the_guide_shows() -> None:
    guide = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")
    assert set(re.findall(r"ros2 launch leadline (\S+)", guide)) == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_every_argument_says_what_it_is_and_stands_in_the_guide(file: str) -> None:
    guide = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")
    for name, argument in declared(file).items():
        assert argument.description.endswith(".")
        assert f"`{name}`" in guide


@pytest.mark.parametrize("file", FILES)
def test_what_is_started_exists(file: str) -> None:
    scripts = re.findall(r'^(\w+) = "leadline_ros', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    for node in nodes(file):
        assert node.package == "leadline"
        assert node.executable in scripts
        assert all(Path(path).is_file() for path in node.additional_env.values())
        for parameters in node.parameters:
            assert isinstance(parameters, dict) or yaml.safe_load(Path(parameters).read_text(encoding="utf-8"))


def test_without_arguments_the_parameter_file_decides() -> None:
    (node,) = nodes("depth.launch.py")
    assert node.parameters == [
        str(ROOT / "config" / "depth.yaml"), {"auto_activate": True, "use_sim_time": False},
    ]  # fmt: skip
    assert (node.remappings, node.namespace) == ([], "")


def test_arguments_reach_the_node() -> None:
    (node,) = nodes(
        "depth_lidar.launch.py", image="/front/image_raw", points="/lidar/points", namespace="front", model="a.safetensors",
        device="cuda:1", camera_height_m="1.2", auto_activate="false", use_sim_time="true", log_level="debug",
    )  # fmt: skip
    assert node.namespace == "front"
    assert node.remappings == [("image", "/front/image_raw"), ("points", "/lidar/points")]
    assert node.parameters[1] == {
        "auto_activate": False, "use_sim_time": True, "model": "a.safetensors", "device": "cuda:1", "camera_height_m": 1.2,
    }  # fmt: skip
    assert node.arguments == ["--ros-args", "--log-level", "debug"]


def test_a_profile_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILE_VARIABLES[0], "/etc/mine.xml")
    (node,) = nodes("depth.launch.py")
    assert node.additional_env == {}


def test_the_demo_hears_what_its_source_says() -> None:
    source, node = nodes("demo.launch.py")
    assert source.executable == "leadline_demo_source"
    assert dict(node.remappings) == {"image": "/camera/image_raw", "points": "/lidar/points"}


def test_several_cameras_are_one_node() -> None:
    (node,) = nodes(
        "depth_cameras.launch.py", cameras="front, rear", points="/lidar/points", camera_info="/{camera}/calibration"
    )
    assert node.parameters[1]["cameras"] == ["front", "rear"]
    assert dict(node.remappings) == {
        "points": "/lidar/points",
        "front/image": "/front/image_raw", "front/camera_info": "/front/calibration",
        "rear/image": "/rear/image_raw", "rear/camera_info": "/rear/calibration",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "meant"), [("True", True), ("1", True), ("yes", True), ("False", False), ("0", False)]
)
def test_true_and_false_in_any_spelling(text: str, meant: bool) -> None:
    (node,) = nodes("depth.launch.py", auto_activate=text, use_sim_time=text)
    assert node.parameters[1] == {"auto_activate": meant, "use_sim_time": meant}


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(ValueError, match="auto_activate is 'maybe'"):
        nodes("depth.launch.py", auto_activate="maybe")


UPSTREAM = """
import json, sys
import launch
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node
context = launch.LaunchContext()
description = PythonLaunchDescriptionSource(sys.argv[1]).get_launch_description(context)
started = []
for entity in description.entities:  # arguments get their defaults, the function gives its nodes
    started += [entity] if isinstance(entity, Node) else entity.visit(context) or []
names = [one.name for one in description.get_launch_arguments()]
print(json.dumps([names, [one.node_executable for one in started if isinstance(one, Node)]]))
"""


@pytest.mark.skipif(find_spec("launch_ros") is None, reason="needs a ROS installation: there is no wheel of launch_ros")
@pytest.mark.parametrize("file", FILES)
def test_upstream_launch_reads_them_as_the_stand_in_does(file: str) -> None:
    read = subprocess.run([sys.executable, "-c", UPSTREAM, LAUNCH / file], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    names, executables = json.loads(read.stdout.splitlines()[-1])
    assert set(names) == set(declared(file))
    assert executables == [one.executable for one in nodes(file)]
