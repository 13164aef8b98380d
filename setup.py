"""The ROS half of packaging: `colcon build` runs this file, and pip takes from it the files under share/.

pip reads names, versions and dependencies from pyproject.toml. The setuptools of Ubuntu's ROS releases (59 on Humble,
68 on Jazzy) cannot read its licence field, so for them this file says the same again.
"""

import re
from ast import literal_eval
from pathlib import Path

import setuptools
from setuptools import Distribution, find_packages, setup

READS_PYPROJECT = int(setuptools.__version__.split(".")[0]) >= 77

#: Where the files lie. `colcon build --symlink-install` runs a link to this file in a folder that has no others.
SOURCE = Path(__file__).resolve().parent


def files(pattern):
    """Files of the source folder, by names relative to it (setuptools refuses absolute ones)."""
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.glob(pattern))


SHARED_FILES = [
    ("share/ament_index/resource_index/packages", ["resource/leadline"]),
    ("share/leadline", ["package.xml"]),
    ("share/leadline/launch", files("launch/*.py")),
    ("share/leadline/config", [name for kind in ("json", "rviz", "xml", "yaml") for name in files(f"config/*.{kind}")]),
    ("share/leadline/config/train", files("config/train/*.yaml")),
]


class WithoutPyproject(Distribution):
    """Reads setup.cfg alone."""

    def parse_config_files(self, filenames=None, ignore_option_errors=False):
        super().parse_config_files(filenames or self.find_config_files(), ignore_option_errors)


def spelled_out():
    """What pyproject.toml says, for a setuptools that cannot read it."""
    project = (SOURCE / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    data = re.search(r"^leadline = (\[.+\])$", project, re.MULTILINE)  # of [tool.setuptools.package-data]
    return {
        "distclass": WithoutPyproject,
        "name": "leadline",
        "version": version.group(1),
        "license": "Apache-2.0",
        "package_dir": {"": "core", "leadline_ros": "ros2_node/leadline_ros"},
        "packages": find_packages(str(SOURCE / "core")) + find_packages(str(SOURCE / "ros2_node")),
        "package_data": {"leadline": literal_eval(data.group(1))},
        "zip_safe": False,
        "entry_points": {
            "console_scripts": [
                "leadline = leadline.cli.main:main",
                "depth_node = leadline_ros.main:main",
                "leadline_demo_source = leadline_ros.demo_source:main",
            ]
        },
    }


setup(data_files=SHARED_FILES, **({} if READS_PYPROJECT else spelled_out()))
