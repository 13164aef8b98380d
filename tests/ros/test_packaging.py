"""What `colcon build` installs with the setuptools of Ubuntu's ROS releases, which cannot read pyproject.toml."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import setuptools
from places import ROOT


def said_by_setup(monkeypatch: pytest.MonkeyPatch, version: str) -> dict[str, Any]:
    """What setup.py hands to a setuptools of that version."""
    said: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "__version__", version)
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: said.update(keywords))
    runpy.run_path("setup.py")
    return said


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", ["59.6.0", "68.1.2"])
def test_an_old_setuptools_is_told_what_pyproject_says(
    version: str, monkeypatch: pytest.MonkeyPatch, project: dict[str, Any]
) -> None:
    said = said_by_setup(monkeypatch, version)
    assert said["name"] == project["project"]["name"]
    assert said["version"] == project["project"]["version"]
    assert said["package_data"] == project["tool"]["setuptools"]["package-data"]
    scripts = dict(script.split(" = ") for script in said["entry_points"]["console_scripts"])
    assert scripts == project["project"]["scripts"]


def test_every_module_and_every_file_that_the_code_reads_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_by_setup(monkeypatch, "68.1.2")
    places = {"leadline_ros": ROOT / "ros2_node" / "leadline_ros", "leadline": ROOT / "core" / "leadline"}
    for name, place in places.items():
        modules = {path.parent for path in place.rglob("*.py")}
        assert {".".join([name, *path.relative_to(place).parts]) for path in modules} <= set(said["packages"])
        given = {path for pattern in said["package_data"].get(name, []) for path in place.glob(pattern)}
        data = {path for path in place.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert data == given


def test_launch_and_parameter_files_lie_where_ros_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(said_by_setup(monkeypatch, "80.0.0")["data_files"])
    assert {Path(name).name for name in files["share/leadline/launch"]} == {
        path.name for path in (ROOT / "launch").glob("*.py")
    }
    assert {Path(name).name for name in files["share/leadline/config"]} == {
        path.name for pattern in ("*.yaml", "*.xml", "*.rviz", "*.json") for path in (ROOT / "config").glob(pattern)
    }
    assert (ROOT / files["share/leadline"][0]).is_file()
    assert (ROOT / files["share/ament_index/resource_index/packages"][0]).is_file()


def test_it_can_be_run_from_a_folder_that_links_to_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `colcon build --symlink-install` does."""
    said: dict[str, Any] = {}
    (tmp_path / "setup.py").symlink_to(ROOT / "setup.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setuptools, "__version__", "68.1.2")
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: said.update(keywords))
    runpy.run_path("setup.py")
    assert {"leadline", "leadline_ros"} <= set(said["packages"])
    assert "launch/depth.launch.py" in dict(said["data_files"])["share/leadline/launch"]


def test_package_xml_names_what_pyproject_needs(project: dict[str, Any]) -> None:
    """What has a rosdep key of a version that will do."""
    keys = {"numpy": "python3-numpy", "pillow": "python3-pil", "pyyaml": "python3-yaml", "scipy": "python3-scipy"}
    keys |= {"opencv-python-headless": "python3-opencv", "click": "python3-click", "rich": "python3-rich"}
    without = {"torch", "diffusers", "safetensors", "huggingface-hub", "openexr", "av"}
    needed = {re.split(r"[<>=\[;]", line)[0] for line in project["project"]["dependencies"]}
    assert needed == set(keys) | without
    package = (ROOT / "package.xml").read_text(encoding="utf-8")
    assert [key for key in keys.values() if f"<exec_depend>{key}</exec_depend>" not in package] == []
