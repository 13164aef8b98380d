"""Meshes and point clouds as files: .glb, .ply, .obj and .npz, from a photograph with its depth."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from leadline.depth.nearness import nearness
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.extras import missing
from leadline.files.whole import write_bytes
from leadline.geometry.mesh import Mesh, perspective_mesh, relief_mesh
from leadline.geometry.panorama import measure_panorama, panorama_mesh
from leadline.geometry.ranges import assumed_depth
from leadline.geometry.sky import sky_mask
from leadline.sensors.pinhole import Pinhole
from leadline.types import FloatMap, RgbImage

#: scene: surfaces where the camera saw them; relief: a raised picture; points: the scene's vertices.
MeshKind = Literal["scene", "relief", "points"]

SUFFIXES = (".glb", ".ply", ".obj", ".npz")
#: Vertices along the long edge unless told otherwise: what viewers and editors still turn smoothly.
DEFAULT_VERTICES = 768
#: A coarser grid shows no shape.
MIN_VERTICES = 8
#: Near and far distance of a relative map unless told otherwise, metres: a room.
DEFAULT_RANGE_M = (1.5, 6.0)


@dataclass(frozen=True)
class Scene:
    """A photograph with its depth and camera.

    Attributes:
        photo: uint8 (H, W, 3).
        prediction: What the model (or the completion) said.
        depth_m: float32 (H, W), metres; assumed unless ``prediction.metric``.
        camera: Of the photograph.
    """

    photo: RgbImage
    prediction: DepthPrediction
    depth_m: FloatMap
    camera: Pinhole

    @classmethod
    def of(
        cls,
        photo: RgbImage,
        prediction: DepthPrediction,
        camera: Pinhole | None = None,
        range_m: tuple[float, float] = DEFAULT_RANGE_M,
    ) -> Scene:
        """The scene of a prediction; a relative one is laid out from ``range_m[0]`` to ``range_m[1]``.

        Raises:
            InputError: The range is none, or the photograph has another size than the prediction.
        """
        near_m, far_m = range_m
        if not 0 < near_m < far_m:
            raise InputError(f"near {near_m:g} and far {far_m:g} are no range; near has to be smaller, and above 0")
        if photo.shape[:2] != prediction.shape:
            raise InputError(f"the photograph is {photo.shape[:2]} and its depth {prediction.shape}; use one size")
        camera = camera or Pinhole.default(photo.shape[1], photo.shape[0])
        if prediction.metric:
            return cls(photo, prediction, prediction.values, camera)
        return cls(photo, prediction, assumed_depth(prediction.values, prediction.space, near_m, far_m), camera)


def export_mesh(
    path: str | Path,
    photo: RgbImage,
    prediction: DepthPrediction,
    *,
    camera: Pinhole | None = None,
    kind: MeshKind = "scene",
    range_m: tuple[float, float] = DEFAULT_RANGE_M,
    vertices: int = DEFAULT_VERTICES,
    triangles: int | None = None,
    cut: float = 0.1,
    sky: bool = True,
    relief_size_m: tuple[float, float] = (2.0, 0.4),
) -> Mesh:
    """Write a textured mesh or a point cloud; an .obj brings its material and picture along, under names of its own.

    Axes: x right, y up, z towards the viewer; the camera is at the origin.

    Args:
        path: A file ending in .glb, .ply (colours instead of a texture), .obj or .npz (arrays).
        photo: RGB uint8 (H, W, 3).
        prediction: Its depth; metres if metric, otherwise laid out in ``range_m``.
        camera: None: a field of view of about 45 degrees.
        kind: "scene", "relief" or "points".
        range_m: Nearest and farthest distance that a relative map is given, metres.
        vertices: Along the long edge, at most one for each pixel; 0 is one for each pixel.
        triangles: An adaptive mesh of about so many.
        cut: Relative jump in depth that is cut open; 1 cuts nothing.
        sky: False leaves the sky out.
        relief_size_m: Width and height of a relief, metres.

    Returns:
        The mesh that was written.

    Raises:
        InputError: An option cannot be used, or nothing is left of the mesh.
        LeadlineError: The file cannot be written.
    """
    path = Path(path)
    checked_target(path, kind)
    scene = Scene.of(photo, prediction, camera, range_m)
    mesh = build_mesh(
        scene, kind, vertices=vertices, triangles=triangles, cut=cut, sky=sky, relief_size_m=relief_size_m
    )
    for file, content in encode(mesh, scene, path, points=kind == "points").items():
        write_bytes(file, content)
    return mesh


def export_panorama(
    path: str | Path,
    panorama: RgbImage,
    predict: Callable[[RgbImage], DepthPrediction],
    *,
    range_m: tuple[float, float] = DEFAULT_RANGE_M,
    vertices: int = DEFAULT_VERTICES,
) -> tuple[Mesh, DepthPrediction]:
    """Write the closed surface round the viewer as a textured mesh; he is at the origin, the panorama's middle along -z.

    Args:
        path: A file ending in .glb, .ply (colours instead of a texture) or .obj.
        panorama: RGB uint8, equirectangular, twice as wide as high.
        predict: Depth of an ordinary picture; called for each tile of the panorama.
        range_m: Nearest and farthest distance that a relative map is given, metres.
        vertices: Around; 0 is one for each column of pixels.

    Returns:
        The mesh, and what was predicted of the first tile.

    Raises:
        InputError: It is no panorama, or an option cannot be used.
        LeadlineError: The file cannot be written.
    """
    path = Path(path)
    checked_target(path)
    if path.suffix.lower() == ".npz":
        raise InputError("an .npz holds what one camera saw; write a panorama as .glb, .ply or .obj")
    try:
        distance, first = measure_panorama(panorama, lambda index, count, picture: predict(picture), range_m)
    except ValueError as error:
        raise InputError(str(error)) from error
    mesh, _ = panorama_mesh(distance, min(vertices, panorama.shape[1]) or panorama.shape[1])
    scene = Scene(panorama, first, distance, Pinhole.default(panorama.shape[1], panorama.shape[0]))
    for file, content in encode(mesh, scene, path).items():
        write_bytes(file, content)
    return mesh, first


def checked_target(path: Path, kind: MeshKind = "scene") -> None:
    """Complain about a file that cannot be written, before anything is computed.

    Raises:
        InputError: Its ending is unknown, cannot hold points, or needs a package that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} ends in '{path.suffix}'; write one of {', '.join(SUFFIXES)}")
    if suffix == ".obj" and kind == "points":
        raise InputError("an .obj holds no point cloud; write .ply, .glb or .npz")
    if suffix != ".npz":
        _trimesh(suffix)


def build_mesh(
    scene: Scene,
    kind: MeshKind = "scene",
    *,
    vertices: int = DEFAULT_VERTICES,
    triangles: int | None = None,
    cut: float = 0.1,
    sky: bool = True,
    relief_size_m: tuple[float, float] = (2.0, 0.4),
) -> Mesh:
    """The geometry of a scene; see :func:`export_mesh`.

    Raises:
        InputError: Too few vertices, or nothing is left.
    """
    if vertices and vertices < MIN_VERTICES:
        raise InputError(
            f"{vertices} vertices along the long edge show no shape; take {MIN_VERTICES} or more, or 0 for all"
        )
    rise = nearness(scene.prediction.values, scene.prediction.space.near_is_high, 0.5, 99.5)
    common: dict[str, Any] = {
        "uncertainty": scene.prediction.uncertainty,
        "cut": cut,
        "removed": None if sky else sky_mask(1 - rise, scene.photo),
        "long_edge": min(vertices, max(scene.photo.shape)) or None,
        "target_faces": triangles,
    }
    if kind == "relief":
        mesh = relief_mesh(rise, *relief_size_m, depth=scene.depth_m, **common)
    else:
        mesh = perspective_mesh(scene.depth_m, scene.camera, **common)
    if not len(mesh.vertices):
        raise InputError("nothing is left of the mesh; raise cut, keep the sky, or take more vertices")
    return mesh


def vertex_colours(mesh: Mesh, photo: RgbImage) -> npt.NDArray[np.uint8]:
    """uint8 (V, 3): the photograph at the vertices."""
    height, width = photo.shape[:2]
    columns = (mesh.uv[:, 0] * width).astype(int).clip(0, width - 1)
    rows = ((1 - mesh.uv[:, 1]) * height).astype(int).clip(0, height - 1)
    return photo[rows, columns]


def encode(mesh: Mesh, scene: Scene, path: Path, points: bool = False) -> Mapping[Path, bytes]:
    """The files of a mesh: path → content."""
    kind = path.suffix.lower()
    if kind == ".npz":
        return {path: _npz(mesh, scene, points)}
    trimesh = _trimesh(kind)
    colours = vertex_colours(mesh, scene.photo)
    if points:
        cloud = trimesh.PointCloud(mesh.vertices, colours)
        return {path: trimesh.Scene(cloud).export(file_type="glb") if kind == ".glb" else cloud.export(file_type="ply")}
    if kind == ".ply":  # has no textures
        surface = _surface(trimesh, mesh, trimesh.visual.ColorVisuals(vertex_colors=colours))
        return {path: surface.export(file_type="ply", vertex_normal=True)}
    from PIL import Image  # noqa: PLC0415

    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(scene.photo), metallicFactor=0.0, roughnessFactor=1.0
    )
    surface = _surface(trimesh, mesh, trimesh.visual.TextureVisuals(uv=mesh.uv, material=material))
    if kind == ".glb":
        return {path: surface.export(file_type="glb", include_normals=True)}
    own = _plain_name(path.stem)
    text, extra = trimesh.exchange.obj.export_obj(
        surface, include_normals=True, return_texture=True, mtl_name=f"{own}.mtl"
    )
    files = {path: text.encode()}
    picture = next(name for name in extra if not name.endswith(".mtl"))
    texture = f"{own}.texture{Path(picture).suffix}"
    for name, content in extra.items():  # the library calls every picture material_0
        if name == picture:
            files[path.with_name(texture)] = content
        else:
            files[path.with_name(name)] = content.replace(picture.encode(), texture.encode())
    return files


def _plain_name(stem: str) -> str:
    """A name for the files that an .obj names, whose format knows no spaces; other stems give other names."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)
    return plain if plain == stem else f"{plain}-{hashlib.blake2b(stem.encode(), digest_size=3).hexdigest()}"


def _trimesh(kind: str) -> Any:
    try:
        return import_module("trimesh")  # Any: its type hints are incomplete
    except ImportError as error:
        raise InputError(f"{missing('trimesh')} (for {kind}; .npz works without)") from error


def _surface(trimesh: Any, mesh: Mesh, visual: Any) -> Any:
    return trimesh.Trimesh(
        mesh.vertices, mesh.triangles(), vertex_normals=mesh.normals(), visual=visual, process=False, validate=False
    )


def _npz(mesh: Mesh, scene: Scene, points: bool) -> bytes:
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
