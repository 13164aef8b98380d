"""As much of `launch` and `launch_ros` as Leadline's launch files use: neither is on PyPI.

The classes keep what they are given; :func:`nodes` then does what `ros2 launch` does with it.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from places import ROOT

LAUNCH = ROOT / "launch"


@dataclass
class LaunchContext:
    launch_configurations: dict[str, str] = field(default_factory=dict)


@dataclass
class LaunchDescription:
    entities: list[Any]


@dataclass
class DeclareLaunchArgument:
    name: str
    default_value: str
    description: str


@dataclass
class OpaqueFunction:
    function: Any


@dataclass
class LaunchConfiguration:
    name: str

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.name]


@dataclass
class Node:
    """The arguments of `launch_ros.actions.Node` that are used here, by their names from Humble to Rolling."""

    package: str
    executable: str
    name: str
    namespace: str = ""
    parameters: list[Any] = field(default_factory=list)
    remappings: list[tuple[str, str]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    additional_env: dict[str, str] = field(default_factory=dict)
    output: str = "log"
    emulate_tty: bool = False

    def ros_arguments(self, folder: Path) -> list[str]:
        """What follows `--ros-args` on the command line; parameters go through files, as there."""
        arguments = ["-r", f"__node:={self.name}"]
        if self.namespace:
            arguments += ["-r", f"__ns:=/{self.namespace.lstrip('/')}"]
        for number, parameters in enumerate(self.parameters):
            path = parameters
            if isinstance(parameters, dict):
                path = folder / f"{self.name}_{number}.yaml"
                path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
            arguments += ["--params-file", str(path)]
        for name, other in self.remappings:
            arguments += ["-r", f"{name}:={other}"]
        return arguments + [one for one in self.arguments if one != "--ros-args"]


@contextmanager
def _importable() -> Iterator[None]:
    modules = {name: ModuleType(name) for name in ("launch", "launch.actions", "launch.substitutions")}
    modules |= {name: ModuleType(name) for name in ("launch_ros", "launch_ros.actions")}
    vars(modules["launch"]).update(LaunchContext=LaunchContext, LaunchDescription=LaunchDescription)
    vars(modules["launch.actions"]).update(DeclareLaunchArgument=DeclareLaunchArgument, OpaqueFunction=OpaqueFunction)
    vars(modules["launch.substitutions"]).update(LaunchConfiguration=LaunchConfiguration)
    vars(modules["launch_ros.actions"]).update(Node=Node)
    path, before = list(sys.path), {name: sys.modules.get(name) for name in [*modules, "leadline_ros.launching"]}
    sys.modules.update(modules)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def declared(file: str) -> dict[str, DeclareLaunchArgument]:
    """The arguments of a launch file."""
    with _importable():
        entities = runpy.run_path(str(LAUNCH / file))["generate_launch_description"]().entities
    return {one.name: one for one in entities if isinstance(one, DeclareLaunchArgument)}


def nodes(file: str, **arguments: str) -> list[Node]:
    """The nodes that `ros2 launch leadline FILE NAME:=VALUE ...` starts."""
    with _importable():
        entities = runpy.run_path(str(LAUNCH / file))["generate_launch_description"]().entities
        context = LaunchContext()
        for entity in entities:
            if isinstance(entity, DeclareLaunchArgument):
                context.launch_configurations[entity.name] = arguments.pop(entity.name, entity.default_value)
        assert not arguments, f"{file} has no argument {', '.join(arguments)}"
        started = []
        for entity in entities:
            started += entity.function(context) if isinstance(entity, OpaqueFunction) else [entity]
    return [one for one in started if isinstance(one, Node)]
