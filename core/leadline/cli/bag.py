"""`leadline bag`: depth topics for a recorded ROS 2 bag, without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leadline.cli.options import model_options, out_option
from leadline.errors import InputError


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@out_option(required=True, help="OUT.mcap, OUT.db3 or a folder.")
@click.option("--image", required=True, help="Topic of the images (Image or CompressedImage).")
@click.option("--camera-info", default=None, help="Topic of the calibration.  [default: beside the image topic]")
@click.option("--points", default=None, help="Topic of LiDAR points (PointCloud2).")
@click.option("--sparse-depth", default=None, help="Topic of a sparse depth image (16UC1 or 32FC1).")
@click.option("--prefix", default=None, help="Of the new topics.  [default: /camera/image_raw gives /camera/depth]")
@click.option(
    "--add",
    "outputs",
    default="depth,uncertainty,camera_info",
    show_default=True,
    help="What to add: depth, uncertainty, camera_info, relative, preview.",
)
@click.option("--depth-encoding", type=click.Choice(["32FC1", "16UC1"]), default="32FC1", show_default=True)
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="A parameter of the ROS node, as extrinsics=[...]."
)
@click.option(
    "--steps", type=click.IntRange(1), default=None, help="Network evaluations per image.  [default: the model's]"
)
@click.option("--ensemble", type=int, default=1, show_default=True, help="Members per image.")
@click.option(
    "--size",
    type=click.IntRange(0),
    default=None,
    help="Long edge for processing; 0 is native.  [default: the model's]",
)
@model_options
def command(
    source: Path, out: Path, image: str, camera_info: str | None, points: str | None, sparse_depth: str | None,
    prefix: str | None, outputs: str, depth_encoding: str, changes: tuple[str, ...], steps: int | None, size: int | None,
    vae: str | None, **options: Any,
) -> None:  # fmt: skip
    """Add metric depth to a recorded ROS 2 bag (.mcap, .db3 or a bag's folder).

    The images go through the same pipeline as in the live node. Everything that the bag holds is kept byte by byte.
    A run that was broken off continues when it is started again.
    """
    from leadline.streaming.bags import NEW_TOPICS, BagJob, default_prefix, run
    from leadline.streaming.settings import StreamSettings

    if vae is not None:
        raise InputError(
            "--vae is not for bags; give the checkpoint a name first: leadline import PATH --vae ... --as NAME"
        )
    names = tuple(dict.fromkeys(name.strip() for name in outputs.split(",") if name.strip()))
    if not names or not set(names) <= set(NEW_TOPICS):
        raise InputError(f"--add takes {', '.join(NEW_TOPICS)}, not {outputs!r}")
    # The stream's settings are a ROS node's parameters, which know no None: there 0 is the default and -1 the image's own size.
    of_network = {"steps": steps or 0, "size": 0 if size is None else size or -1}
    settings = StreamSettings().changed({**options, **of_network, **dict(map(_parsed, changes))})
    job = BagJob(
        source=source,
        image=image,
        camera_info=camera_info,
        points=points,
        sparse_depth=sparse_depth,
        prefix=(prefix or default_prefix(image)).rstrip("/"),
        outputs=names,
        depth_encoding=depth_encoding,
    )

    def load(wanted: StreamSettings) -> Any:
        from leadline.streaming.pipeline import DepthPipeline

        return DepthPipeline.load(wanted)

    from leadline.bar import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("images", total=None)
        report = run(job, out, settings, load, lambda done, total: bar.update(task, completed=done, total=total))
    for problem, count in report.problems.items():
        click.echo(f"leadline: {problem} ({count}×)", err=True)
    resumed = f", {report.resumed} of them by an earlier run" if report.resumed else ""
    click.echo(f"{report.images} images{resumed}; {report.failed} could not be used; written to {out}", err=True)


def _parsed(change: str) -> tuple[str, Any]:
    """`name=value` with the type that the setting has."""
    import json
    from dataclasses import fields

    from leadline.streaming.settings import StreamSettings

    name, equals, text = change.partition("=")
    known = {one.name: one for one in fields(StreamSettings)}
    if not equals or name not in known:
        raise InputError(f"--set takes NAME=VALUE with one of: {', '.join(known)}")
    default = getattr(StreamSettings(), name)
    if isinstance(default, str):
        return name, text
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"--set {name}: {text!r} is no number, list, true or false") from error
    wanted = (int, float) if isinstance(default, float) else (list,) if isinstance(default, tuple) else (type(default),)
    if not isinstance(value, wanted):
        raise InputError(f"--set {name}: {text!r} is not of the type of {default!r}")
    return name, value
