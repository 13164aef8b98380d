"""A closed body from an open relief, for milling and 3D printing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leadline.geometry.mesh import IntArray, Mesh


def solid(relief: Mesh, base_m: float) -> Mesh:
    """The relief with a flat back ``base_m`` behind its lowest point and with walls; watertight if the relief is whole.

    The back and the walls carry the texture coordinates of the surface before them.

    Raises:
        ValueError: The base has no thickness.
    """
    if not base_m > 0:
        raise ValueError("a solid relief needs a base thicker than 0")
    count = len(relief.vertices)
    back = relief.vertices.copy()
    back[:, 2] = relief.vertices[:, 2].min() - np.float32(base_m)
    start, end = _border(relief.faces)
    walls = np.stack([start, start + count, end + count, end], axis=1)
    if relief.faces.shape[1] == 3:
        walls = walls[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    faces = np.concatenate([relief.faces, relief.faces[:, ::-1] + count, walls]).astype(np.int32)
    uncertainty = None if relief.uncertainty is None else np.tile(relief.uncertainty, 2)
    return Mesh(
        np.concatenate([relief.vertices, back]),
        faces,
        np.tile(relief.uv, (2, 1)),
        np.concatenate([relief.depth, np.zeros_like(relief.depth)]),
        uncertainty,
    )


def _border(faces: IntArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and end vertex of every edge that only one face has, in that face's direction."""
    start = faces.astype(np.int64).ravel()
    end = np.roll(faces, -1, axis=1).astype(np.int64).ravel()
    most = int(start.max()) + 1
    there, back = start * most + end, end * most + start
    alone = ~np.isin(there, back)
    return start[alone], end[alone]
