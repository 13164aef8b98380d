"""`leadline mesh`: a photograph as a textured mesh or a point cloud, without Blender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from leadline.cli.options import inference_options, model_options, out_option
from leadline.cli.scene import (
    camera_options,
    metric_options,
    range_options,
    reconstruct,
    said_of_scale,
    surface_options,
    write_panorama,
)
from leadline.errors import InputError

if TYPE_CHECKING:
    from leadline.geometry.export import MeshKind

SUFFIXES = (".glb", ".ply", ".obj", ".npz")


def _vertices(ctx: click.Context, param: click.Parameter, value: int) -> int:
    if value and value < 8:
        raise click.BadParameter(f"{value} vertices along the long edge show no shape; take 8 or more, or 0 for all")
    return value


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@out_option(required=True, help=f"A file ending in {', '.join(SUFFIXES)}.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["scene", "relief", "points", "panorama"]),
    default="scene",
    show_default=True,
    help="scene: surfaces where the camera saw them; relief: a raised picture; points: the scene's vertices; "
    "panorama: the closed surface round the viewer, from a 360° panorama.",
)
@click.option(
    "--vertices",
    type=click.IntRange(min=0),
    default=768,
    show_default=True,
    callback=_vertices,
    help="Along the long edge, at most one for each pixel; 0 is one for each pixel.",
)
@click.option("--triangles", type=click.IntRange(min=1), help="Adaptive mesh of about so many triangles.")
@surface_options
@click.option("--width", type=float, default=2.0, show_default=True, help="Width of a relief, metres.")
@click.option("--height", type=float, default=0.4, show_default=True, help="Height of a relief, metres.")
@camera_options
@range_options
@metric_options
@model_options
@inference_options
def command(
    image: Path, out: Path, kind: MeshKind | Literal["panorama"], vertices: int, triangles: int | None, cut: float, no_sky: bool,
    width: float, height: float, **options: Any,
) -> None:  # fmt: skip
    """A textured mesh or point cloud from a photograph.

    \b
    leadline mesh photo.jpg -o photo.glb
    leadline mesh statue.jpg -o statue.obj --as relief
    leadline mesh room.jpg -o room.ply --as points --reference 640,500,2.35
    leadline mesh around.jpg -o around.glb --as panorama

    Axes: x right, y up, z towards the viewer; the camera is at the origin. Without a reference the metres are assumed
    from --near and --far. An .npz holds vertices, faces, uv, normals, colours, depth and uncertainty as arrays; an .obj
    brings its material and picture along.
    """
    from leadline.geometry.export import checked_target, export_mesh

    if kind == "panorama":
        if triangles is not None or no_sky:
            raise InputError("a panorama's surface is whole: --triangles and --no-sky are for other kinds")
        click.echo(write_panorama(image, out, vertices, **options), err=True)
        return
    checked_target(out, kind)
    if not (width > 0 and height > 0):
        raise InputError(f"a relief of {width:g} x {height:g} m has no size; give --width and --height above 0")
    scene = reconstruct(image, **options)
    mesh = export_mesh(
        out, scene.photo, scene.prediction, camera=scene.camera, kind=kind, range_m=(options["near"], options["far"]),
        vertices=vertices, triangles=triangles, cut=cut, sky=not no_sky, relief_size_m=(width, height),
    )  # fmt: skip
    click.echo(
        f"{out}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, "
        f"depth {scene.depth_m.min():.2f} to {scene.depth_m.max():.2f}, {said_of_scale(scene.prediction)}",
        err=True,
    )
