"""What can be set on a stream, in one table: names, defaults, ranges, meanings.

The ROS node declares its parameters from it, ``leadline bag`` its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from leadline.errors import InputError
from leadline.sensors.transforms import parse_extrinsics

#: Changing one of these means loading the model again.
MODEL_FIELDS = ("model", "device", "precision", "speed", "backend", "decoder", "compile")
#: Cameras that share a model share these; the rest each may have its own of.
COMMON_FIELDS = (*MODEL_FIELDS, "steps", "ensemble", "size", "seed")


def option(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field with what a person should know about it."""
    meta = {"description": description, "low": low, "high": high, "choices": choices, "read_only": read_only}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class StreamSettings:
    """All settings of a stream. Zero means "not given" wherever a description says so."""

    model: str = option("fiffdepth-mini", "Model: a name that `leadline models` lists, or a path on disk.")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps; several with commas.")
    precision: str = option("auto", "Number format of the network.", choices=("auto", "fp32", "fp16", "bf16", "int8"))
    speed: str = option(
        "full",
        "realtime: small encoder and decoder, and for precision and backend auto those measured to be fastest here; mini models only.",
        choices=("full", "realtime"),
    )
    backend: str = option(
        "auto",
        "openvino: on a CPU, with the extra openvino; auto: torch, but with speed realtime the faster one.",
        choices=("auto", "torch", "openvino"),
    )
    decoder: str = option(
        "full",
        "full; small: twice the frames on a CPU, softer edges, mini models only; or the file of a small decoder.",
    )
    compile: str = option(
        "off",
        "Compile the network, with or without CUDA graphs: faster frames on a GPU, minutes to start.",
        choices=("off", "graphs", "kernels"),
    )
    steps: int = option(0, "Network evaluations per frame; 0: the model's default.", 0, 100)
    ensemble: int = option(1, "Members averaged per frame; 2 or more also measure the model's own spread.", 1, 32)
    size: int = option(0, "Long edge for processing in pixels; 0: the model's default, -1: the image's own.", -1, 4096)
    seed: int = option(0, "Start noise; the same for every frame, so that a still scene stays still.", 0, 2**31 - 1)

    detail: str = option(
        "off",
        "edges: steps in depth lie where the image has its edges, for 10 to 40 ms of the CPU.",
        choices=("off", "edges"),
    )
    steady: bool = option(
        False,
        "Hold depth still over time, for 10 ms of the CPU: points are followed by optical flow and averaged where frames agree.",
    )

    min_depth_m: float = option(0.05, "Nearer depth is published as -Inf (16UC1: 0).", 0.001, 1000.0)
    max_depth_m: float = option(200.0, "Farther depth is published as +Inf (16UC1: 0).", 0.01, 10000.0)
    max_relative_uncertainty: float = option(
        0.0, "Pixels whose 1-sigma exceeds this share of their depth become NaN; 0: keep all.", 0.0, 10.0
    )

    max_wait_s: float = option(
        0.2, "How long an image may wait for the points and the TF of its time, if such come; 0: never.", 0.0, 10.0
    )
    sync_tolerance_s: float = option(
        0.1, "Largest time between an image and points used with it where nothing undoes the motion between.", 0.0, 10.0
    )
    hold_s: float = option(
        0.5,
        "How long points are carried to later images by odometry or the images' motion, and a fit is held.",
        0.0,
        3600.0,
    )
    lidar_min_range_m: float = option(0.3, "Points nearer to the camera than this are ignored.", 0.0, 100.0)
    lidar_max_range_m: float = option(200.0, "Points farther than this are ignored.", 0.1, 1000.0)
    fixed_frame: str = option(
        "auto",
        "Frame that stands still: undoes the robot's motion between points and image. auto: odom, map or world if TF connects "
        "one of them with the camera; empty: off.",
    )
    extrinsics: tuple[float, ...] = option(
        (), "LiDAR to optical camera frame if TF does not have it: x y z qx qy qz qw, or 16 numbers of a 4x4."
    )
    watch_extrinsics: bool = option(
        True, "Hold the depth jumps of `points` against the image's edges, and warn where the extrinsics look wrong."
    )
    image_is_rectified: bool = option(False, "The image is rectified: use P of camera_info and no distortion.")
    rectified: bool = option(
        False, "Publish rectified depth, and a camera_info without distortion: for all that takes cameras for pinholes."
    )

    metric_scale: float = option(0.0, "Known scale: metres = to_depth(scale * value + shift); 0: unknown.", 0.0, 1e6)
    metric_shift: float = option(0.0, "Known shift, used with metric_scale.", -1e6, 1e6)
    track_points: bool = option(
        True, "Without measured points: triangulate tracked features over the motion that fixed_frame's odometry tells."
    )
    ground_frame: str = option(
        "auto",
        "Without measured points: frame whose z = 0 is flat ground; its TF gives the camera's height, pitch and roll. auto: "
        "base_footprint if TF has it; empty: off.",
    )
    use_imu: bool = option(False, "With camera_height_m: take the camera's pitch and roll from gravity on `imu`.")
    camera_height_m: float = option(
        0.0, "Height of the camera above flat ground, which then gives the scale; 0: unknown.", 0.0, 100.0
    )
    camera_pitch_deg: float = option(
        0.0, "How far the camera looks down from level; with camera_height_m.", -45.0, 89.0
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.min_depth_m >= self.max_depth_m:
            raise InputError(f"min_depth_m {self.min_depth_m:g} must be below max_depth_m {self.max_depth_m:g}")
        if self.lidar_min_range_m >= self.lidar_max_range_m:
            raise InputError("lidar_min_range_m must be below lidar_max_range_m")
        if not self.model.strip():
            raise InputError("model is empty; give a name that `leadline models` lists, or a path")
        parse_extrinsics(self.extrinsics)

    def changed(self, changes: Mapping[str, Any]) -> StreamSettings:
        """These settings with some of them replaced; unknown names are left to the caller and ignored.

        Raises:
            InputError: A value is out of range or contradicts another.
        """
        known = {one.name for one in fields(self)}
        return replace(self, **{name: _tidy(value) for name, value in changes.items() if name in known})


def _tidy(value: Any) -> Any:
    return (
        tuple(float(number) for number in value)
        if isinstance(value, list | tuple) or hasattr(value, "tolist")
        else value
    )


def check_options(settings: Any) -> None:
    """Hold every field made by :func:`option` against its range and choices.

    Raises:
        InputError: The first value that does not fit.
    """
    for one in fields(settings):
        value, meta = getattr(settings, one.name), one.metadata
        if meta["choices"] and value not in meta["choices"]:
            raise InputError(f"{one.name} is {value!r}; it can be {', '.join(meta['choices'])}")
        low, high = meta["low"], meta["high"]
        if low is not None and not low <= value <= high:
            raise InputError(f"{one.name} is {value:g}; it must lie in [{low:g}, {high:g}]")
