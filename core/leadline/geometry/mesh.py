"""Meshes from depth: a flat grid, a relief, a scene seen by a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.adaptive import adaptive_faces
from leadline.geometry.lattice import Lattice
from leadline.geometry.silhouettes import STEEPEST_DEGREES, silhouette_cells
from leadline.geometry.tuned import COUNTS
from leadline.sensors.pinhole import Pinhole
from leadline.types import BoolMap, FloatMap

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int32]

#: Default relative jump in depth that counts as a silhouette.
CUT_THRESHOLD = 0.1


@dataclass(frozen=True)
class Mesh:
    """Vertices, faces and what every vertex knows.

    Attributes:
        vertices: float32 (V, 3), metres; axes as in :mod:`leadline.geometry`.
        faces: int32 (F, 4) or (F, 3) vertex numbers, counter-clockwise seen by the viewer.
        uv: float32 (V, 2) texture coordinates, origin at the photograph's lower left corner.
        depth: float32 (V,) distance along the camera's axis (perspective) or height above the base (relief).
        uncertainty: float32 (V,), one standard deviation in the unit of the map it was sampled from; or None.
        edges, face_edges: int32 (E, 2) vertex numbers and (F, 4) edge numbers, from each corner of a face to its next;
            only if they were asked for and the faces are quadrilaterals. Programs that want edges (Blender) need several
            times as long to find them.
    """

    vertices: FloatMap
    faces: IntArray
    uv: FloatMap
    depth: FloatMap
    uncertainty: FloatMap | None = None
    edges: IntArray | None = None
    face_edges: IntArray | None = None

    def triangles(self) -> IntArray:
        """(T, 3): the faces, quadrilaterals split in two."""
        if self.faces.shape[1] == 3:
            return self.faces
        return self.faces[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)

    def normals(self) -> FloatMap:
        """(V, 3) unit normals towards the viewer's side, averaged over the faces around each vertex by their area."""
        diagonal = self.vertices[self.faces[:, 2]] - self.vertices[self.faces[:, 0]]
        other = self.vertices[self.faces[:, -1]] - self.vertices[self.faces[:, 1]]
        if self.faces.shape[1] == 3:
            other = self.vertices[self.faces[:, 1]] - self.vertices[self.faces[:, 0]]
            diagonal, other = other, diagonal
        of_face = np.cross(diagonal, other)
        summed = np.zeros((len(self.vertices), 3), np.float32)
        for corner in self.faces.T:
            for axis in range(3):
                summed[:, axis] += np.bincount(corner, of_face[:, axis], minlength=len(summed))
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        summed /= np.maximum(length, np.finfo(np.float32).tiny)
        return summed

    def without_loose_vertices(self) -> Mesh:
        """The same surface without the vertices that no face uses."""
        used = np.zeros(len(self.vertices), np.bool_)
        used[self.faces.ravel()] = True
        if used.all():
            return self
        number = np.cumsum(used, dtype=np.int32) - 1
        return Mesh(
            self.vertices[used],
            number[self.faces],
            self.uv[used],
            self.depth[used],
            None if self.uncertainty is None else self.uncertainty[used],
            None if self.edges is None else number[self.edges],
            self.face_edges,
        )


def grid_mesh(height: int, width: int, width_m: float, long_edge: int | None, edges: bool = False) -> Mesh:
    """A flat grid, ``width_m`` wide and centred on the origin, for a displacement to act on."""
    lattice = Lattice.over(height, width, long_edge)
    flat = np.zeros((lattice.rows, lattice.columns), np.float32)
    return _assemble(
        lattice, _relief_points(lattice, flat, width_m), flat, None, _nothing(lattice), 0, None, width_m, edges
    )


def relief_mesh(
    rise: FloatArray,
    width_m: float,
    height_m: float,
    *,
    uncertainty: FloatArray | None = None,
    depth: FloatArray | None = None,
    cut: float = 1.0,
    removed: BoolMap | None = None,
    long_edge: int | None = None,
    target_faces: int | None = None,
    edges: bool = False,
) -> Mesh:
    """A relief: the picture as a plane, ``width_m`` wide, that rises towards the viewer.

    Args:
        rise: (H, W) in [0, 1], see :func:`leadline.geometry.nearness`; 1 rises by ``height_m``.
        uncertainty: (H, W), stored with the vertices.
        depth: (H, W) > 0; where it jumps by ``cut`` (relative, see ``silhouette_cells``) the relief is cut.
        removed: (H, W) pixels without surface, such as the sky.
        long_edge: Vertices along the long edge; None for one for each pixel.
        target_faces: Adaptive triangles, this many within 5 % unless the full grid has fewer; None for the full grid of
            quadrilaterals.
        edges: Also give the edges of a full grid.
    """

    def over(lattice: Lattice, block: int) -> Mesh:
        risen = lattice.linear(rise) * np.float32(height_m)
        dropped = removed_cells(lattice, removed)
        if depth is not None and cut < 1:
            dropped |= silhouette_cells(lattice.depth(depth), cut)
        points = _relief_points(lattice, risen, width_m)
        return _assemble(lattice, points, risen, uncertainty, dropped, block, target_faces, width_m, edges)

    return _near_target(over, rise.shape, long_edge, target_faces)


def perspective_mesh(
    depth: FloatArray,
    camera: Pinhole,
    *,
    uncertainty: FloatArray | None = None,
    cut: float = CUT_THRESHOLD,
    steepest: float = STEEPEST_DEGREES,
    keep_planes: bool = True,
    removed: BoolMap | None = None,
    long_edge: int | None = None,
    target_faces: int | None = None,
    edges: bool = False,
) -> Mesh:
    """The surface that the camera saw: every vertex projects exactly onto its point of the photograph.

    Args:
        depth: (H, W) > 0 along the camera's axis, metres.
        camera: Of the photograph; ``depth`` may be of another resolution, but of the same picture.
        steepest: Where something is cut at all, ramps steeper than this are, too; degrees between the surface's normal
            and the line of sight. 90: none.
        keep_planes: Do not cut what is steep but goes on linearly, such as a floor towards the horizon.
        uncertainty, cut, removed, long_edge, target_faces, edges: As for :func:`relief_mesh`.
    """
    height, width = depth.shape
    if abs(width * camera.height - height * camera.width) > max(camera.width, camera.height):
        raise ValueError(f"a depth map of {depth.shape} does not belong to {camera}")

    def over(lattice: Lattice, block: int) -> Mesh:
        on_lattice = lattice.depth(depth)
        focal = camera.focal_px * (lattice.columns - 1) / camera.width
        dropped = removed_cells(lattice, removed) | silhouette_cells(on_lattice, cut, focal, steepest, keep_planes)
        x_px = (lattice.x_px * (camera.width / width)).astype(np.float32)
        y_px = (lattice.y_px * (camera.height / height)).astype(np.float32)
        points = camera.unproject(x_px, y_px[:, None], on_lattice)
        return _assemble(lattice, points, on_lattice, uncertainty, dropped, block, target_faces, on_lattice, edges)

    return _near_target(over, depth.shape, long_edge, target_faces)


def _near_target(
    over: Callable[[Lattice, int], Mesh], shape: tuple[int, ...], long_edge: int | None, target_faces: int | None
) -> Mesh:
    """The mesh over the lattice that was asked for, or over a coarser one if its outlines alone exceed the target."""
    height, width = shape
    if target_faces is None:
        return over(Lattice.over(height, width, long_edge), 0)
    lattice, block = Lattice.divisible(height, width, long_edge)
    best = over(lattice, block)
    coarse, fine = COUNTS.coarsest, max(lattice.rows, lattice.columns)
    if len(best.faces) <= COUNTS.most * target_faces:
        return best
    for _ in range(COUNTS.tries):
        vertices = round((coarse * fine) ** 0.5)
        mesh = over(*Lattice.divisible(height, width, vertices, COUNTS.fine_block))
        if abs(len(mesh.faces) - target_faces) < abs(len(best.faces) - target_faces):
            best = mesh
        if abs(len(best.faces) - target_faces) <= (COUNTS.most - 1) * target_faces or fine - coarse < 2:
            break
        coarse, fine = (coarse, vertices) if len(mesh.faces) > target_faces else (vertices, fine)
    return best


def _nothing(lattice: Lattice) -> BoolMap:
    return np.zeros((lattice.rows - 1, lattice.columns - 1), np.bool_)


def removed_cells(lattice: Lattice, removed: BoolMap | None) -> BoolMap:
    """Cells with a removed pixel at any corner."""
    if removed is None:
        return _nothing(lattice)
    vertices = lattice.nearest(removed)
    return np.asarray(vertices[:-1, :-1] | vertices[1:, :-1] | vertices[:-1, 1:] | vertices[1:, 1:])


def _relief_points(lattice: Lattice, risen: FloatMap, width_m: float) -> FloatMap:
    height_m = width_m * lattice.height / lattice.width
    points = np.empty((lattice.rows, lattice.columns, 3), np.float32)
    points[..., 0] = np.linspace(-0.5, 0.5, lattice.columns) * width_m
    points[..., 1] = (np.linspace(0.5, -0.5, lattice.rows) * height_m)[:, None]
    points[..., 2] = risen
    return points


def _assemble(
    lattice: Lattice,
    points: FloatArray,
    depth: FloatMap,
    uncertainty: FloatArray | None,
    dropped: BoolMap,
    block: int,
    target_faces: int | None,
    error_scale: FloatArray | float,
    edges: bool,
) -> Mesh:
    faces = (
        adaptive_faces(points, np.asarray(error_scale), dropped, block, target_faces).astype(np.int32)
        if target_faces is not None
        else lattice.quads()[~dropped.ravel()]
    )
    mesh = Mesh(
        points.reshape(-1, 3).astype(np.float32, copy=False),
        faces,
        lattice.uv(),
        depth.ravel(),
        None if uncertainty is None else lattice.linear(uncertainty).ravel(),
        *(_used_edges(lattice, dropped) if edges and target_faces is None else (None, None)),
    )
    return mesh.without_loose_vertices()


def _used_edges(lattice: Lattice, dropped: BoolMap) -> tuple[IntArray, IntArray]:
    """Edges of the cells that are kept, and their numbers for each kept cell."""
    ends, of_quad = lattice.edges()
    if not dropped.any():
        return ends, of_quad
    of_quad = of_quad[~dropped.ravel()]
    used = np.zeros(len(ends), np.bool_)
    used[of_quad.ravel()] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    return ends[used], number[of_quad]
