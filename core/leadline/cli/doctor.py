"""`leadline doctor`: what is installed, what would be used, what is here."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec

import click

from leadline import threads

#: Package → what it is for, and the extra that brings it (None: always installed).
_PARTS = (
    ("torch", "the networks", None),
    ("diffusers", "the networks", None),
    ("numpy", "arrays", None),
    ("opencv-python-headless", "images, cameras", None),
    ("transformers", "importing official checkpoints", "import"),
    ("pyzmq", "server and client", "serve"),
    ("ray", "several machines", "ray"),
    ("accelerate", "training", "train"),
    ("trimesh", "meshes", "mesh"),
    ("rerun-sdk", "viewer", "view"),
    ("rosbags", "bags", "bag"),
    ("onnxruntime", "exporting", "onnx"),
)


@click.command()
def command() -> None:
    """Say what is installed, which device and precision would be used, and which weights are here."""
    from rich.console import Console
    from rich.table import Table

    import leadline

    console = Console()
    console.print(f"Leadline {leadline.__version__}, Python {platform.python_version()} on {platform.platform()}")
    parts = Table("package", "version", "for")
    for name, purpose, extra in _PARTS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = f"missing: pip install 'leadline\\[{extra}]'" if extra else "missing: install Leadline again"
        parts.add_row(name, version, purpose)
    ros = "yes" if find_spec("rclpy") else "missing: pip install 'leadline\\[ros]', or source a ROS 2 installation"
    parts.add_row("rclpy", ros, "the ROS 2 node")
    console.print(parts)
    _print_devices(console)
    _print_weights(console)


def _print_devices(console: object) -> None:
    import torch

    from leadline.inference.devices import choose_devices, choose_precision, cpu_computes_bf16, precision_name

    device = choose_devices("auto")[0]
    precision = precision_name(choose_precision("auto", device))
    click.echo(f"would use: device {device}, precision {precision}, {torch.get_num_threads()} CPU threads")
    _print_threads()
    _print_speed()
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        click.echo(f"  cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        click.echo(
            f"  CPU vector instructions: {capability}; --precision bf16 "
            + ("is faster here" if cpu_computes_bf16() else "would be many times slower: no AVX512-BF16, no AMX")
        )


def _print_threads() -> None:
    """What the threads were told, and what other programs must say before they import torch."""
    told = {name: os.environ[name] for name in (*threads.OWN_NUMBER, *threads.OWN_WAITING) if name in os.environ}
    click.echo(f"  cores for this process: {threads.allowed_cores()}, free now: {threads.free_cores()}")
    click.echo("  threads: " + ", ".join(f"{name}={value}" for name, value in told.items()))
    click.echo(
        "  in a program of your own, before torch is imported: import leadline.threads; leadline.threads.prepare()"
        "  (or set GOMP_SPINCOUNT=1000); beside busy programs it is many times slower without"
    )


def _print_speed() -> None:
    """What `--speed realtime` measured on this machine."""
    from leadline.inference.openvino_stages import openvino_version
    from leadline.inference.speed import measured_here

    if openvino_version() is None:
        click.echo(
            "  OpenVINO: not installed; --speed realtime is about 1.5 times faster with it (pip install 'leadline[openvino]')"
        )
    for one in measured_here():
        times = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in one.seconds.items())
        click.echo(f"  --speed realtime, {one.model}: {one.fastest} ({times}; {one.machine})")


def _print_weights(console: object) -> None:
    from leadline.checkpoints.cache import cache_folder
    from leadline.checkpoints.catalog import CATALOG
    from leadline.checkpoints.resolve import available

    here = available()
    click.echo(f"models folder: {cache_folder() / 'models'}")
    for name in here:
        click.echo(f"  here: {name} ({here[name].stat().st_size / 1e6:.1f} MB)")
    for name in sorted(set(CATALOG) - set(here)):
        click.echo(f"  not here: {name}" + (f" (leadline pull {name})" if CATALOG[name].downloadable else ""))
    if not here:
        sys.exit(1)
