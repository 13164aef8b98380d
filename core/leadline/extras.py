"""What to say when an optional package is not installed: one line with the command that installs it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from leadline.errors import InputError

#: Module → (package, extra of this distribution that brings it; empty where none does).
PACKAGES = {
    "zmq": ("pyzmq", "serve"),
    "ray": ("ray", "ray"),
    "accelerate": ("accelerate", "train"),
    "tensorboard": ("tensorboard", "train"),
    "h5py": ("h5py", "eval"),
    "matplotlib": ("matplotlib", "eval"),
    "transformers": ("transformers", "import"),
    "trimesh": ("trimesh", "mesh"),
    "rerun": ("rerun-sdk", "view"),
    "rosbags": ("rosbags", "bag"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
    "pillow_heif": ("pillow-heif", "heic"),
    "rclpy": ("ros-jazzy-rclpy", "ros"),
    "psutil": ("psutil", "dev"),
    "peft": ("peft", "lora"),
    "bitsandbytes": ("bitsandbytes", ""),
    "wandb": ("wandb", ""),
    "mlflow": ("mlflow", ""),
    "comet_ml": ("comet-ml", ""),
    "clearml": ("clearml", ""),
    "aim": ("aim", ""),
    "dvclive": ("dvclive", ""),
}


def missing(module: str) -> str | None:
    """What to do about a missing ``module``; None if it belongs to no extra.

    >>> missing("zmq")
    "this needs the package pyzmq, which is not installed; run: pip install 'pyzmq>=26.0'"
    """
    package, extra = PACKAGES.get(module.partition(".")[0], ("", ""))
    if not package:
        return None
    if extra == "ros":
        return (
            "this needs ROS 2 (rclpy); source its setup.bash first, or see docs/ros2.md for an installation without ROS"
        )
    needed = " ".join(f"'{one}'" for one in _requirements(extra) if extra) or f"'{package}'"
    return f"this needs the package {package}, which is not installed; run: pip install {needed}"


def require(module: str, otherwise: str = "") -> None:
    """Complain if ``module`` is not installed, before anything is computed.

    Raises:
        InputError: With the command that installs it, and ``otherwise``.
    """
    if find_spec(module) is None:
        raise InputError(f"{missing(module)}{f'; {otherwise}' if otherwise else ''}")


def _requirements(extra: str) -> list[str]:
    """What an extra installs, as the installed distribution says."""
    try:
        lines = requires("leadline") or []
    except PackageNotFoundError:
        return []
    return [line.partition(";")[0].strip() for line in lines if re.search(rf"extra == ['\"]{extra}['\"]", line)]
