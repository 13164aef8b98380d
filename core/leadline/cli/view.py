"""`leadline view`: a photograph in 3D, in the browser or in the Rerun viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.options import inference_options, model_options, out_option
from leadline.cli.scene import (
    camera_options,
    metric_options,
    range_options,
    reconstruct,
    said_of_scale,
    surface_options,
)
from leadline.errors import InputError
from leadline.extras import missing

if TYPE_CHECKING:
    from leadline.geometry.export import Scene

_SUFFIXES = (".html", ".rrd")


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@out_option(help="A page (.html) or a Rerun recording (.rrd).  [default: NAME.view.html]", older="--save")
@click.option("--open/--no-open", "opened", default=None, help="Open the page.  [default: unless --out is given]")
@click.option("--rerun", "in_rerun", is_flag=True, help="Open the Rerun viewer instead of a browser.")
@click.option(
    "--vertices",
    type=click.IntRange(8, 2048),
    default=512,
    show_default=True,
    help="Along the long edge of the page's mesh.",
)
@surface_options
@camera_options
@range_options
@metric_options
@model_options
@inference_options
def command(
    image: Path,
    out: Path | None,
    opened: bool | None,
    in_rerun: bool,
    vertices: int,
    cut: float,
    no_sky: bool,
    **options: Any,
) -> None:
    """Look at a photograph in 3D.

    \b
    leadline view photo.jpg                  a page in the browser
    leadline view photo.jpg -o photo.html    a page to send to somebody: one file, no network
    leadline view photo.jpg --rerun          the Rerun viewer, with depth and uncertainty
    """
    recording = in_rerun or (out is not None and out.suffix.lower() == ".rrd")
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{out} ends in '{out.suffix}'; a page ends in .html, a Rerun recording in .rrd")
    if recording:
        try:
            import rerun
        except ImportError as error:
            raise InputError(f"{missing('rerun')}; or leave out --rerun for a page in the browser") from error
        _record(rerun, reconstruct(image, **options), out, cut, no_sky)
        return
    from leadline.files.whole import write_bytes
    from leadline.geometry.export import build_mesh
    from leadline.geometry.web import view_html

    scene = reconstruct(image, **options)
    mesh = build_mesh(scene, vertices=vertices, cut=cut, sky=not no_sky)
    target = out or Path(f"{image.stem}.view.html")
    write_bytes(target, view_html(mesh, scene, image.name, said_of_scale(scene.prediction)))
    click.echo(f"{target}: {len(mesh.vertices):,} vertices, {said_of_scale(scene.prediction)}", err=True)
    if opened if opened is not None else out is None:
        click.launch(str(target))


def _record(rerun: Any, scene: Scene, out: Path | None, cut: float, no_sky: bool) -> None:
    rerun.init("leadline", spawn=False)
    if out is not None:
        rerun.save(str(out))
    else:
        try:
            rerun.spawn()
        except (RuntimeError, OSError, FileNotFoundError) as error:
            raise InputError(
                "the Rerun viewer did not start (is the environment with `rerun` activated?); "
                "or write a recording with -o scene.rrd, or leave out --rerun"
            ) from error
    log(rerun, scene, cut, no_sky)
    if out is not None:
        click.echo(f"{out}: open it with `rerun {out}`", err=True)


def log(rerun: Any, scene: Scene, cut: float, no_sky: bool) -> None:
    """Send everything to the viewer: `scene/photo` (camera, image, depth, uncertainty), `scene/mesh`, `scene/points`."""
    from leadline.geometry.export import build_mesh, vertex_colours

    height, width = scene.photo.shape[:2]
    rerun.log("scene", rerun.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
    rerun.log(
        "scene/photo",
        rerun.Pinhole(
            focal_length=scene.camera.focal_px, width=width, height=height, camera_xyz=rerun.ViewCoordinates.RUB
        ),
        static=True,
    )
    rerun.log("scene/photo/image", rerun.Image(scene.photo), static=True)
    rerun.log("scene/photo/depth", rerun.DepthImage(scene.depth_m, meter=1.0), static=True)
    if scene.prediction.uncertainty is not None:
        rerun.log("uncertainty", rerun.DepthImage(scene.prediction.uncertainty, colormap="Inferno"), static=True)
    mesh = build_mesh(scene, cut=cut, sky=not no_sky)
    colours = vertex_colours(mesh, scene.photo)
    # Rerun's texture coordinates begin at the upper left.
    rerun.log(
        "scene/mesh",
        rerun.Mesh3D(
            vertex_positions=mesh.vertices,
            triangle_indices=mesh.triangles(),
            vertex_normals=mesh.normals(),
            vertex_texcoords=mesh.uv * [1, -1] + [0, 1],
            albedo_texture=scene.photo,
        ),
        static=True,
    )
    rerun.log("scene/points", rerun.Points3D(mesh.vertices, colors=colours, radii=0.004), static=True)
