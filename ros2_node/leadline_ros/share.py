"""Where launch files, parameter files and the Fast DDS profile lie, however Leadline was installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Fast DDS reads the first up to version 2 (Humble, Jazzy) and the second from version 3 on (Kilted).
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def shared_file(relative: str) -> Path | None:
    """A file of share/leadline: in a ROS workspace, a pip installation, or a checkout; None if it is nowhere."""
    prefixes = [entry for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    folders = [Path(prefix) / "share" / "leadline" for prefix in [*prefixes, sys.prefix]]
    folders.append(Path(__file__).resolve().parents[2])
    return next((folder / relative for folder in folders if (folder / relative).is_file()), None)


def use_large_image_profile() -> None:
    """Let Fast DDS carry large images, unless a profile is chosen already; must run before rclpy starts."""
    profile = shared_file("config/fastdds_large_images.xml")
    if profile is not None and not any(variable in os.environ for variable in PROFILE_VARIABLES):
        for variable in PROFILE_VARIABLES:
            os.environ[variable] = str(profile)
