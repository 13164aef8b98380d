"""ROS parameters from the tables of settings: descriptors, ranges, validation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import Field, dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from leadline.errors import InputError
from leadline.streaming.ros.clouds import CloudFilter
from leadline.streaming.settings import COMMON_FIELDS, StreamSettings, check_options, option

_CAMERA_NAME = "[A-Za-z][A-Za-z0-9_]*"


@dataclass(frozen=True)
class NodeSettings:
    """What only a live node has; :class:`StreamSettings` holds the rest."""

    cameras: tuple[str, ...] = option(
        ("",),
        "Names of cameras that share the node's model, and whose topics stand below them; empty: one camera.",
        read_only=True,
    )
    auto_activate: bool = option(
        True, "Configure and activate at start; False: wait for a lifecycle manager.", read_only=True
    )
    image_transport: str = option("raw", "raw: `image`; compressed: `image/compressed`.", choices=("raw", "compressed"))
    depth_encoding: str = option(
        "32FC1", "Of `depth`: 32FC1 in metres (REP-118) or 16UC1 in millimetres.", choices=("32FC1", "16UC1")
    )
    points_stride: int = option(2, "`depth/points` takes every n-th pixel, both ways.", 1, 64)
    points_frame: str = option("", "Frame of `depth/points` (base_link ...), through TF; empty: the camera's.")
    points_min_range_m: float = option(0.0, "Nearer points are left out of `depth/points`.", 0.0, 1000.0)
    points_max_range_m: float = option(0.0, "Farther points are left out of `depth/points`; 0: no limit.", 0.0, 1000.0)
    points_min_height_m: float = option(
        0.0, "Lowest z in points_frame that `depth/points` keeps, if points_max_height_m is above it.", -1000.0, 1000.0
    )
    points_max_height_m: float = option(
        0.0, "Highest z in points_frame that `depth/points` keeps; both 0: no limit.", -1000.0, 1000.0
    )
    points_max_relative_sigma: float = option(
        0.0,
        "Points whose sigma is a larger share of their distance are left out of `depth/points`; 0: keep all.",
        0.0,
        10.0,
    )
    points_cut: float = option(
        0.0,
        "Points between the two sides of such a relative jump in depth are left out of `depth/points` (0.1 is usual); 0: keep all.",
        0.0,
        1.0,
    )
    points_voxel_m: float = option(0.0, "`depth/points` has one point per cube of this size; 0: all.", 0.0, 100.0)
    max_rate_hz: float = option(0.0, "Largest number of frames processed per second; 0: no limit.", 0.0, 1000.0)
    lazy: bool = option(True, "Read images only while somebody listens to an output.")
    stall_timeout_s: float = option(2.0, "No image for so long is reported as a stalled camera.", 0.1, 3600.0)
    static_timeout_s: float = option(
        10.0, "Images identical bit by bit for so long are reported as a frozen camera; 0: never.", 0.0, 3600.0
    )
    diagnostics_period_s: float = option(1.0, "Time between messages on /diagnostics.", 0.1, 60.0, read_only=True)
    use_cv_bridge: bool = option(False, "Convert raw images with cv_bridge instead of NumPy.", read_only=True)

    def __post_init__(self) -> None:
        check_options(self)
        for name in self.cameras:
            if not re.fullmatch(_CAMERA_NAME, name) or self.cameras.count(name) > 1:
                raise InputError(f"cameras has {name!r}; each needs a name of its own of letters, digits and _")

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Of all cameras; one empty name where there is but one."""
        return self.cameras or ("",)

    @property
    def cloud_filter(self) -> CloudFilter:
        """What `depth/points` is left with."""
        return CloudFilter(
            min_range_m=self.points_min_range_m,
            max_range_m=self.points_max_range_m,
            min_height_m=self.points_min_height_m,
            max_height_m=self.points_max_height_m,
            max_relative_sigma=self.points_max_relative_sigma,
            voxel_m=self.points_voxel_m,
        )

    def changed(self, changes: dict[str, Any]) -> NodeSettings:
        """These settings with some of them replaced; unknown names are ignored."""
        known = {one.name for one in fields(self)}
        return replace(self, **{name: value for name, value in changes.items() if name in known})


def declare(node: Node, table: type[StreamSettings] | type[NodeSettings]) -> dict[str, Any]:
    """Declare one parameter for each field of ``table``; the values given by launch files and the command line.

    Raises:
        InputError: A given value has the wrong type.
    """
    return {one.name: _coerced(one, _declare(node, one)) for one in fields(table)}


def declare_own(node: Node, camera: str) -> dict[str, Any]:
    """Declare the parameters that a camera may have for itself, `CAMERA.NAME`; the values given, which may be none.

    Raises:
        InputError: A given value has the wrong type.
    """
    given = {one.name: _declare(node, one, f"{camera}.") for one in _own_fields()}
    return {one.name: _coerced(one, given[one.name]) for one in _own_fields() if given[one.name] is not None}


def own_changes_from(parameters: Iterable[Parameter], camera: str) -> dict[str, Any]:
    """As :func:`changes_from` for the parameters of one camera; None where it is to have none of its own any more."""
    known = {f"{camera}.{one.name}": one for one in _own_fields()}
    return {
        known[parameter.name].name: None
        if parameter.value is None
        else _coerced(known[parameter.name], parameter.value)
        for parameter in parameters
        if parameter.name in known
    }


def _own_fields() -> list[Field[Any]]:
    return [one for one in fields(StreamSettings) if one.name not in COMMON_FIELDS]


def changes_from(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Parameters that are ours, by name, with whole numbers turned into floats where floats are meant.

    Raises:
        InputError: Wrong type.
    """
    known = {one.name: one for table in (StreamSettings, NodeSettings) for one in fields(table)}
    return {
        parameter.name: _coerced(known[parameter.name], parameter.value)
        for parameter in parameters
        if parameter.name in known
    }


def _declare(node: Node, one: Field[Any], prefix: str = "") -> Any:
    """The value given; with a prefix None by default, for then the parameter without it counts."""
    meta = one.metadata
    default = _default_of(one)
    # Dynamic typing, so that `-p max_depth_m:=12` means 12.0 instead of ending the node.
    descriptor = ParameterDescriptor(
        description=meta["description"],
        read_only=meta["read_only"],
        dynamic_typing=bool(prefix) or isinstance(default, float | tuple),
    )
    if meta["choices"]:
        descriptor.additional_constraints = "one of: " + ", ".join(meta["choices"])
    if meta["low"] is not None and isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
        ]
    elif meta["low"] is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]), step=1)]
    value = list(default) or [0.0] if isinstance(default, tuple) else default
    node.declare_parameter(prefix + one.name, None if prefix else value, descriptor)
    return node.get_parameter(prefix + one.name).value


def _default_of(one: Field[Any]) -> Any:
    return one.default_factory() if callable(one.default_factory) else one.default


def _coerced(one: Field[Any], value: Any) -> Any:
    default = _default_of(one)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, float) and number:
        return float(value)
    if isinstance(default, tuple):
        listed = None if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
        if default and listed is not None and all(isinstance(entry, str) for entry in listed):
            return tuple(entry for entry in listed if entry)
        if not default and listed is not None and all(isinstance(entry, int | float) for entry in listed):
            return () if listed == [0.0] else tuple(float(entry) for entry in listed)
    elif type(value) is type(default):
        return value
    wanted = f"of type {type(default).__name__}"
    if isinstance(default, tuple):
        wanted = "a list of names" if default else "a list of numbers"
    raise InputError(f"{one.name} is {value!r}; it must be {wanted}")
