# SPDX-License-Identifier: GPL-3.0-or-later
"""From a depth map to the geometry of an object. No `bpy` here, so that a thread can do it while Blender stays free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from leadline.depth.nearness import nearness
from leadline.errors import InputError
from leadline.files.png import encode_png
from leadline.geometry import (
    LiveRelief,
    Mesh,
    Pinhole,
    assumed_depth,
    background,
    grid_mesh,
    live_relief,
    moved_depth,
    moved_nearness,
    panorama_mesh,
    perspective_mesh,
    read_paint,
    relief_mesh,
    sky_mask,
    solid,
)

from .depth import Depth, check
from .stored import StoredImage

if TYPE_CHECKING:
    from .properties import MeshOptions

#: Alpha, 0 to 255, from which a pixel gets a surface.
_OPAQUE = 128
#: Of pictures that go into the file; higher takes longer and saves little.
_PNG_LEVEL = 3


@dataclass(frozen=True)
class Seen:
    """What geometry needs of a photograph, read from Blender beforehand.

    Attributes:
        size: Height and width, upright.
        camera: That took it.
        orientation: How its file is stored (EXIF).
        photo: Itself; None if the options ask for nothing that needs it.
        cut_out: Whether what is transparent gets no surface.
        paint: What was painted to change the depth; None if nothing was.
    """

    size: tuple[int, int]
    camera: Pinhole
    orientation: int
    photo: StoredImage | None = None
    cut_out: bool = False
    paint: StoredImage | None = None


@dataclass(frozen=True)
class Shape:
    """What an object is made of.

    Attributes:
        mesh: Its surface.
        metres: float32 (H, W), distance along the camera's axis, assumed or measured, as it was before paint moved it.
        rise: float32 (H, W) in [0, 1], 1 is nearest, for a displacement; else None.
        same: int32 (V,), of a closed mesh: for each vertex the first that lies in the same place; else None.
        live: What belongs to ``mesh`` if its height and its cuts are left to Geometry Nodes; else None.
        behind, behind_png: The surface behind the silhouettes and its picture, a PNG file; None if there is none.
    """

    mesh: Mesh
    metres: np.ndarray
    rise: np.ndarray | None = None
    live: LiveRelief | None = None
    behind: Mesh | None = None
    behind_png: bytes | None = None
    same: np.ndarray | None = None


def fills_behind(options: MeshOptions) -> bool:
    """Whether the options ask for a surface behind the silhouettes."""
    return options.result == "PERSPECTIVE" and options.use_cut and options.fill_behind


def is_live(options: MeshOptions) -> bool:
    """Whether height and cuts are left to Geometry Nodes."""
    return options.result in ("RELIEF", "DISPLACEMENT") and options.use_live


def has_holes(options: MeshOptions) -> bool:
    """Whether the result may leave parts of the photograph out."""
    return options.result in ("PERSPECTIVE", "RELIEF")


def removes_sky(options: MeshOptions) -> bool:
    return has_holes(options) and options.remove_sky


def shape(depth: Depth, seen: Seen, options: MeshOptions) -> Shape:
    """The geometry that the options ask for.

    Raises:
        InputError: The depth does not fit the photograph, or the options contradict each other.
    """
    check(depth, seen.size)
    stored = metres = metres_of(depth, options)
    rise = None
    if options.result != "PERSPECTIVE" or options.remove_sky:
        rise = nearness(depth.values, depth.space.near_is_high, 0.5, 99.5)
    pixels = None if seen.photo is None else seen.photo.picture(_size(metres))
    removed = _removed(pixels, seen.cut_out, rise, options)
    if seen.paint is not None:
        shift, painted_out = read_paint(seen.paint.picture(_size(metres)))
        metres = moved_depth(metres, shift, options.paint_share)
        rise = None if rise is None else moved_nearness(rise, shift, options.paint_share)
        removed = painted_out if removed is None else removed | painted_out
    if options.result == "PANORAMA":
        height, width = seen.size
        if abs(width - 2 * height) > 0.01 * width:
            raise InputError(f"a 360° panorama is twice as wide as high; this picture has {width} × {height} pixels")
        mesh, same = panorama_mesh(metres, options.long_edge)
        return Shape(mesh, stored, same=same)
    if is_live(options):
        assert rise is not None
        live = live_relief(
            rise,
            metres,
            options.width_m,
            uncertainty=depth.uncertainty,
            removed=removed,
            long_edge=options.long_edge or None,
        )
        return Shape(live.mesh, stored, rise if options.result == "DISPLACEMENT" else None, live)
    if options.result == "DISPLACEMENT":
        assert rise is not None
        rows, columns = rise.shape
        return Shape(grid_mesh(rows, columns, options.width_m, options.long_edge or None, edges=True), stored, rise)
    if options.result == "RELIEF":
        assert rise is not None
        return Shape(_relief(rise, metres, removed, depth, options), stored)
    scene = perspective_mesh(
        metres,
        seen.camera,
        steepest=math.degrees(options.steepest),
        keep_planes=options.keep_planes,
        **_common(depth, removed, options),
    )
    return Shape(scene, stored, None, None, *_behind(metres, pixels, seen.camera, options))


def metres_of(depth: Depth, options: MeshOptions) -> np.ndarray:
    """Distances (H, W), measured, or what they are if the map reaches from the nearest to the farthest distance."""
    if depth.metric:
        return depth.values
    if not options.far_m > options.near_m:
        raise InputError("the farthest distance has to be larger than the nearest")
    return assumed_depth(depth.values, depth.space, options.near_m, options.far_m)


def _common(depth: Depth, removed: np.ndarray | None, options: MeshOptions) -> dict[str, Any]:
    """What scenes and reliefs are told alike."""
    return {
        "uncertainty": depth.uncertainty,
        "removed": removed,
        "cut": options.cut if options.use_cut else 1.0,
        "long_edge": options.long_edge or None,
        "target_faces": options.target_faces if options.use_adaptive else None,
        "edges": True,
    }


def _relief(
    rise: np.ndarray, metres: np.ndarray, removed: np.ndarray | None, depth: Depth, options: MeshOptions
) -> Mesh:
    common = _common(depth, removed, options)
    if options.use_base or not options.cut_relief:
        common["cut"] = 1.0
    relief = relief_mesh(rise, options.width_m, options.height_m, depth=metres, **common)
    return solid(relief, options.base_m) if options.use_base else relief


def _size(values: np.ndarray) -> tuple[int, int]:
    return values.shape[0], values.shape[1]


def _removed(
    pixels: np.ndarray | None, cut_out: bool, rise: np.ndarray | None, options: MeshOptions
) -> np.ndarray | None:
    """Pixels (H, W) that get no surface: the sky if wanted, and what is transparent in the photograph.

    ``pixels``: uint8 (H, W, 4), of the depth map's size.
    """
    if pixels is None or not (cut_out or removes_sky(options)):
        return None
    removed = np.zeros(pixels.shape[:2], np.bool_)
    if cut_out:
        removed |= pixels[..., 3] < _OPAQUE
    if removes_sky(options):
        assert rise is not None
        removed |= sky_mask(1 - rise, pixels[..., :3], options.sky_from)
    return removed


def _behind(
    metres: np.ndarray, pixels: np.ndarray | None, camera: Pinhole, options: MeshOptions
) -> tuple[Mesh, bytes] | tuple[None, None]:
    """The surface behind the silhouettes and its picture; nothing if it is not wanted, or nothing is covered."""
    if not fills_behind(options) or pixels is None:
        return None, None
    layer = background(metres, camera, options.cut, math.degrees(options.steepest), options.keep_planes)
    if layer is None:
        return None, None
    mesh = layer.mesh(camera, options.long_edge or None, edges=True)
    return mesh, encode_png(layer.colours(pixels[..., :3]), _PNG_LEVEL)
