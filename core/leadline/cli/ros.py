"""`leadline ros`: the ROS 2 depth node, also where no ROS is installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import click

from leadline.cli.names import present_models
from leadline.errors import InputError

_MESSAGES = ("rclpy", "sensor_msgs", "std_srvs", "diagnostic_msgs")


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--image", default=None, help="Topic to read instead of `image`.")
@click.option("--camera-info", default=None, help="Topic of the calibration.  [default: beside the image topic]")
@click.option("--points", default=None, help="Topic of LiDAR points instead of `points`.")
@click.option("--sparse-depth", default=None, help="Topic of sparse depth images instead of `sparse_depth`.")
@click.option(
    "-m", "--model", default=None, shell_complete=present_models, help="A model's name or a checkpoint's path."
)
@click.option("-p", "--param", "params", multiple=True, metavar="NAME:=VALUE", help="Any parameter of the node.")
@click.argument("ros_arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    image: str | None, camera_info: str | None, points: str | None, sparse_depth: str | None, model: str | None,
    params: tuple[str, ...], ros_arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Run the ROS 2 depth node in this process.

    What follows --ros-args is ROS's own: leadline ros --image /camera/image_raw --ros-args -r __ns:=/front
    """
    missing = [name for name in _MESSAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} not found; source your ROS installation, or: pip install 'leadline[ros]'"
        )
    # By name: the core stands below the node, and only this command reaches up to it.
    main = import_module("leadline_ros.main").main
    arguments = list(ros_arguments)
    renamed = {"image": image, "camera_info": camera_info, "points": points, "sparse_depth": sparse_depth}
    extra = [argument for name, topic in renamed.items() if topic for argument in ("-r", f"{name}:={topic}")]
    extra += [argument for value in ([f"model:={model}"] if model else []) + list(params) for argument in ("-p", value)]
    if extra:
        arguments += ["--ros-args", *extra]
    sys.exit(main(arguments))
