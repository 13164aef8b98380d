"""`leadline mesh`: a photograph as a textured mesh or a point cloud, without Blender."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from leadline.cli.options import inference_options, model_options
from leadline.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from leadline.depth.prediction import DepthPrediction
    from leadline.geometry import Camera, Mesh

F = TypeVar("F", bound=Callable[..., Any])

SUFFIXES = (".glb", ".ply", ".obj", ".npz")
#: Vertices along the long edge unless told otherwise: what viewers and editors still turn smoothly.
DEFAULT_VERTICES = 768


def scene_options(function: F) -> F:
    """Options about the camera and the scale, shared by `mesh` and `view`."""
    for option in (
        click.option(
            "--reference",
            "references",
            type=(float, float, float),
            multiple=True,
            metavar="X Y METRES",
            help="A pixel whose depth was measured; makes the result metric. May be repeated.",
        ),
        click.option("--far", type=float, default=6.0, show_default=True, help="Assumed farthest distance, metres."),
        click.option("--near", type=float, default=1.5, show_default=True, help="Assumed nearest distance, metres."),
        click.option("--fov", type=float, help="Horizontal field of view, degrees."),
        click.option("--lens-mm", type=float, help="Focal length as for full frame (36 mm along the long edge)."),
        click.option(
            "--focal-px", type=float, help="Focal length in pixels.  [default: from EXIF, else 1.2 x the long edge]"
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Scene:
    """A photograph with its depth and camera.

    Attributes:
        photo: uint8 (H, W, 3).
        prediction: What the model (or the completion) said.
        depth_m: float32 (H, W), measured if ``prediction.metric``, otherwise assumed.
        camera: Of the photograph.
    """

    photo: npt.NDArray[np.uint8]
    prediction: DepthPrediction
    depth_m: npt.NDArray[np.float32]
    camera: Camera


def reconstruct(
    image: Path, *, model: str, vae: str | None, device: str, precision: str, steps: int | None, ensemble: int,
    size: int | None, seed: int, focal_px: float | None, lens_mm: float | None, fov: float | None, near: float,
    far: float, references: tuple[tuple[float, float, float], ...],
) -> Scene:  # fmt: skip
    """Depth and camera of a photograph, by the options of the command line."""
    from leadline.completion import complete
    from leadline.files.image import read_image
    from leadline.geometry import assumed_depth
    from leadline.inference.estimator import load

    photo = read_image(image)
    camera = _camera(image, photo.shape[1], photo.shape[0], focal_px, lens_mm, fov)
    if not 0 < near < far:
        raise InputError(f"--near {near:g} and --far {far:g} are no range; near has to be smaller, and above 0")
    sparse_m = _sparse(references, camera)
    estimator = load(model, device=device, precision=precision, vae=vae)
    prediction = estimator.predict(photo, steps=steps, ensemble=ensemble, size=size, seed=seed)
    if sparse_m is not None:
        prediction = complete(photo, prediction, sparse_m)
    if prediction.metric:
        return Scene(photo, prediction, prediction.values, camera)
    return Scene(photo, prediction, assumed_depth(prediction.values, prediction.space, near, far), camera)


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help=f"A file ending in {', '.join(SUFFIXES)}."
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["scene", "relief", "points"]),
    default="scene",
    show_default=True,
    help="scene: surfaces where the camera saw them; relief: a raised picture; points: the scene's vertices.",
)
@click.option(
    "--vertices",
    type=click.IntRange(min=0),
    default=DEFAULT_VERTICES,
    show_default=True,
    help="Along the long edge, at most one for each pixel; 0 is one for each pixel.",
)
@click.option("--triangles", type=click.IntRange(min=1), help="Adaptive mesh of about so many triangles.")
@click.option(
    "--cut",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Relative jump in depth that is cut open; 1 cuts nothing.",
)
@click.option("--no-sky", is_flag=True, help="Leave out the sky.")
@click.option("--width", type=float, default=2.0, show_default=True, help="Width of a relief, metres.")
@click.option("--height", type=float, default=0.4, show_default=True, help="Height of a relief, metres.")
@scene_options
@model_options
@inference_options
def command(
    image: Path, output: Path, kind: str, vertices: int, triangles: int | None, cut: float, no_sky: bool,
    width: float, height: float, **options: Any,
) -> None:  # fmt: skip
    """A textured mesh or point cloud from a photograph.

    Axes: x right, y up, z towards the viewer; the camera is at the origin. Without --reference the metres are assumed
    from --near and --far. An .npz holds vertices, faces, uv, normals, colours, depth and uncertainty as arrays.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output} ends in '{output.suffix}'; write one of {', '.join(SUFFIXES)}")
    scene = reconstruct(image, **options)
    mesh = build_mesh(scene, kind, vertices, triangles or 0, cut, no_sky, (width, height))
    files = encode(mesh, scene, output, points=kind == "points")
    from leadline.files.whole import write_bytes

    for path, content in files.items():
        write_bytes(path, content)
    unit = "metres, measured" if scene.prediction.metric else "metres, assumed from --near and --far"
    click.echo(
        f"{output}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, "
        f"depth {scene.depth_m.min():.2f} to {scene.depth_m.max():.2f} ({unit})",
        err=True,
    )


def build_mesh(
    scene: Scene, kind: str, vertices: int, triangles: int, cut: float, no_sky: bool, relief_size: tuple[float, float]
) -> Mesh:
    """The geometry of a scene; ``kind`` as on the command line."""
    from leadline.geometry import nearness, perspective_mesh, relief_mesh, sky_mask

    rise = nearness(scene.prediction.values, scene.prediction.space.near_is_high)
    common: dict[str, Any] = {
        "uncertainty": scene.prediction.uncertainty,
        "cut": cut,
        "removed": sky_mask(1 - rise, scene.photo) if no_sky else None,
        "long_edge": min(vertices, max(scene.photo.shape)),
        "target_faces": triangles,
    }
    if kind == "relief":
        return relief_mesh(rise, *relief_size, depth=scene.depth_m, **common)
    return perspective_mesh(scene.depth_m, scene.camera, **common)


def vertex_colours(mesh: Mesh, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 (V, 3): the photograph at the vertices."""
    height, width = photo.shape[:2]
    columns = (mesh.uv[:, 0] * width).astype(int).clip(0, width - 1)
    rows = ((1 - mesh.uv[:, 1]) * height).astype(int).clip(0, height - 1)
    return photo[rows, columns]


def encode(mesh: Mesh, scene: Scene, output: Path, points: bool) -> dict[Path, bytes]:
    """The files of an output: path → content. An .obj brings its material and picture along."""
    kind = output.suffix.lower()
    if kind == ".npz":
        return {output: _npz(mesh, scene, points)}
    trimesh = _trimesh(kind)
    colours = vertex_colours(mesh, scene.photo)
    if points:
        if kind == ".obj":
            raise InputError("an .obj holds no point cloud; write .ply, .glb or .npz")
        cloud = trimesh.PointCloud(mesh.vertices, colours)
        return {
            output: trimesh.Scene(cloud).export(file_type="glb") if kind == ".glb" else cloud.export(file_type="ply")
        }
    if kind == ".ply":  # has no textures
        surface = _surface(trimesh, mesh, trimesh.visual.ColorVisuals(vertex_colors=colours))
        return {output: surface.export(file_type="ply", vertex_normal=True)}
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(scene.photo), metallicFactor=0.0, roughnessFactor=1.0
    )
    surface = _surface(trimesh, mesh, trimesh.visual.TextureVisuals(uv=mesh.uv, material=material))
    if kind == ".glb":
        return {output: surface.export(file_type="glb", include_normals=True)}
    text, extra = trimesh.exchange.obj.export_obj(
        surface, include_normals=True, return_texture=True, mtl_name=f"{output.stem}.mtl"
    )
    return {output: text.encode(), **{output.with_name(name): content for name, content in extra.items()}}


def _trimesh(kind: str) -> Any:
    try:
        return import_module("trimesh")  # Any: its type hints are incomplete
    except ImportError as error:
        raise InputError(f"writing {kind} needs trimesh: pip install 'leadline[mesh]'; .npz works without") from error


def _surface(trimesh: Any, mesh: Mesh, visual: Any) -> Any:
    return trimesh.Trimesh(
        mesh.vertices, mesh.triangles(), vertex_normals=mesh.normals(), visual=visual, process=False, validate=False
    )


def _npz(mesh: Mesh, scene: Scene, points: bool) -> bytes:
    import numpy as np

    arrays: dict[str, Any] = {
        "vertices": mesh.vertices,
        "uv": mesh.uv,
        "normals": mesh.normals(),
        "colours": vertex_colours(mesh, scene.photo),
        "depth": mesh.depth,
        "focal_px": scene.camera.focal_px,
        "metric": scene.prediction.metric,
    }
    if not points:
        arrays["faces"] = mesh.faces
    if mesh.uncertainty is not None:
        arrays["uncertainty"] = mesh.uncertainty
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _camera(
    image: Path, width: int, height: int, focal_px: float | None, lens_mm: float | None, fov: float | None
) -> Camera:
    from leadline.geometry import Camera, focal_px_from_photo

    if sum(given is not None for given in (focal_px, lens_mm, fov)) > 1:
        raise InputError("--focal-px, --lens-mm and --fov say the same thing; give one of them")
    try:
        if lens_mm is not None:
            return Camera.from_lens(width, height, lens_mm)
        if fov is not None:
            return Camera.from_fov(width, height, fov)
        focal_px = focal_px or focal_px_from_photo(image, width, height)
        return Camera(width, height, focal_px) if focal_px else Camera.default(width, height)
    except ValueError as error:
        raise InputError(str(error)) from error


def _sparse(references: tuple[tuple[float, float, float], ...], camera: Camera) -> npt.NDArray[np.float32] | None:
    """Reference pixels as sparse depth (H, W), or None if there are none."""
    if not references:
        return None
    import numpy as np

    sparse_m = np.zeros((camera.height, camera.width), np.float32)
    for x_px, y_px, metres in references:
        if not (0 <= x_px < camera.width and 0 <= y_px < camera.height) or not metres > 0:
            raise InputError(
                f"reference {x_px:g} {y_px:g} {metres:g} is not a pixel of {camera.width}x{camera.height} with a distance"
            )
        sparse_m[int(y_px), int(x_px)] = metres
    return sparse_m
