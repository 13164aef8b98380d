"""What tests measure of surfaces."""

from __future__ import annotations

import numpy as np

from leadline.geometry import Pinhole


def steep_share(mesh, degrees: float = 80.0) -> float:
    """Share of a mesh's area whose normal is more than so many degrees away from the line of sight."""
    a, b, c = (mesh.vertices[mesh.triangles()[:, i]].astype(np.float64) for i in range(3))
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1)
    sight = -(a + b + c)
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    cosine = np.einsum("ij,ij->i", normals, sight) / np.maximum(areas, 1e-30)
    return float(areas[cosine < np.cos(np.radians(degrees))].sum() / areas.sum())


def covered(meshes, camera: Pinhole, moved: np.ndarray) -> np.ndarray:
    """Pixels that a camera moved by (x, y, z) sees something in; float coordinates are rounded outwards by half a pixel."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (camera.width, camera.height))
    draw = ImageDraw.Draw(picture)
    for mesh in meshes:
        x_px, y_px, depth = camera.project(mesh.vertices.astype(np.float64) - moved)
        for face in mesh.faces[(depth[mesh.faces] > 0.05).all(axis=1)]:
            draw.polygon([(x_px[i], y_px[i]) for i in face], fill=1, outline=1)
    return np.asarray(picture) > 0
