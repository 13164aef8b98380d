"""A relief that is still flat and whole, with all that is needed to raise and cut it later, in another program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.lattice import Lattice
from leadline.geometry.mesh import Mesh, relief_mesh, removed_cells
from leadline.geometry.silhouettes import jumps
from leadline.types import BoolMap, FloatMap

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LiveRelief:
    """Raised to ``height * nearness`` and without the faces whose ``jump`` exceeds the cut, it is the relief.

    Attributes:
        mesh: Flat, quadrilaterals; ``depth`` is 0 everywhere.
        nearness: float32 (V,) in [0, 1], 1 is nearest.
        jump: float32 (F,) in [0, 1]: the largest relative jump in depth that a face bridges.
    """

    mesh: Mesh
    nearness: FloatMap
    jump: FloatMap


def live_relief(
    rise: FloatArray,
    depth: FloatArray,
    width_m: float,
    *,
    uncertainty: FloatArray | None = None,
    removed: BoolMap | None = None,
    long_edge: int | None = None,
) -> LiveRelief:
    """What :func:`leadline.geometry.relief_mesh` makes of the same arguments, before it is raised and cut."""
    rows, columns = rise.shape
    lattice = Lattice.over(rows, columns, long_edge)
    kept = ~removed_cells(lattice, removed).ravel()
    raised = relief_mesh(rise, width_m, 1.0, uncertainty=uncertainty, removed=removed, long_edge=long_edge, edges=True)
    flat = raised.vertices.copy()
    flat[:, 2] = 0
    mesh = replace(raised, vertices=flat, depth=np.zeros_like(raised.depth))
    return LiveRelief(mesh, raised.depth, jumps(lattice.depth(depth)).ravel()[kept])
