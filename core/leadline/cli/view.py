"""`leadline view`: depth, points, mesh and uncertainty in the Rerun viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leadline.cli.mesh import DEFAULT_VERTICES, Scene, build_mesh, reconstruct, scene_options, vertex_colours
from leadline.cli.options import inference_options, model_options
from leadline.errors import InputError


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--save", type=click.Path(path_type=Path), help="Write a .rrd recording instead of opening the viewer.")
@click.option(
    "--cut",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Relative jump in depth that is cut open; 1 cuts nothing.",
)
@click.option("--no-sky", is_flag=True, help="Leave out the sky.")
@scene_options
@model_options
@inference_options
def command(image: Path, save: Path | None, cut: float, no_sky: bool, **options: Any) -> None:
    """Look at depth, points and uncertainty in the Rerun viewer."""
    try:
        import rerun
    except ImportError as error:
        raise InputError("the viewer is not installed: pip install 'leadline[view]'") from error
    if save is not None and save.suffix != ".rrd":
        raise InputError(f"{save} ends in '{save.suffix}'; a Rerun recording ends in .rrd")
    scene = reconstruct(image, **options)
    rerun.init("leadline", spawn=False)
    if save is not None:
        rerun.save(str(save))
    else:
        rerun.spawn()
    log(rerun, scene, cut, no_sky)
    if save is not None:
        click.echo(f"{save}: open it with `rerun {save}`", err=True)


def log(rerun: Any, scene: Scene, cut: float, no_sky: bool) -> None:
    """Send everything to the viewer: `scene/photo` (camera, image, depth, uncertainty), `scene/mesh`, `scene/points`."""
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
    mesh = build_mesh(scene, "scene", DEFAULT_VERTICES, 0, cut, no_sky, (1.0, 1.0))
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
