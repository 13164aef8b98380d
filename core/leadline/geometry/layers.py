"""What lies behind the silhouettes of a scene: a second surface and its colours, so that a moved camera sees no holes.

Nobody knows what is there. The far side of every silhouette is continued smoothly behind the near side, as far as a
camera that moves a little would see; colours likewise. Good for a parallax, not for walking round things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.fill import fill_holes
from leadline.geometry.mesh import CUT_THRESHOLD, Mesh, perspective_mesh
from leadline.geometry.silhouettes import STEEPEST_DEGREES, silhouette_cells
from leadline.geometry.tuned import LAYERS
from leadline.sensors.pinhole import Pinhole
from leadline.types import BoolMap, FloatMap, RgbImage

FloatArray = npt.NDArray[np.floating[Any]]

#: How far behind a silhouette the background is continued, as a share of the picture's long edge.
REACH = 0.22


@dataclass(frozen=True)
class Background:
    """The surface behind the silhouettes.

    Attributes:
        depth: float32 (H, W), metres.
        hidden: bool (H, W), pixels of the photograph that cover it.
        gaps: bool (H, W), pixels where the scene was cut: nothing covers the background there.
    """

    depth: FloatMap
    hidden: BoolMap
    gaps: BoolMap

    @property
    def extent(self) -> BoolMap:
        """bool (H, W), where it is: what is hidden, and the gaps."""
        return np.asarray(self.hidden | self.gaps)

    def mesh(self, camera: Pinhole, long_edge: int | None = None, edges: bool = False) -> Mesh:
        """The surface, for the camera of the photograph; it goes on a little under what is visible."""
        shown = self.extent
        for _ in range(LAYERS.overlap_px):
            shown = _spread(shown)
        return perspective_mesh(self.depth, camera, cut=1.0, removed=~shown, long_edge=long_edge, edges=edges)

    def colours(self, photo: RgbImage) -> RgbImage:
        """uint8 (H, W, 3): the photograph of the same size, with what covers the background painted over smoothly.

        In gaps it is the photograph, so that its own camera sees no difference.
        """
        painted = np.clip(fill_holes(photo.astype(np.float32), ~self.hidden) + 0.5, 0, 255).astype(np.uint8)
        painted[self.gaps] = photo[self.gaps]
        return painted


def background(
    depth: FloatArray,
    camera: Pinhole,
    cut: float = CUT_THRESHOLD,
    steepest: float = STEEPEST_DEGREES,
    keep_planes: bool = True,
    reach: float = REACH,
) -> Background | None:
    """The background of a scene; None if nothing in it covers anything.

    Args:
        depth: (H, W) > 0, metres.
        camera: Of the photograph.
        cut, steepest, keep_planes: As the scene's mesh has them.
        reach: Share of the long edge over which the far side is continued.
    """
    focal = camera.focal_px * depth.shape[1] / camera.width
    cells = silhouette_cells(depth, cut, focal, steepest, keep_planes)
    if not cells.any():
        return None
    disparity = (1.0 / depth).astype(np.float32)
    torn = _corners(cells)
    near_side = _near_side(disparity, torn)
    hidden = near_side.copy()
    steps = max(2, round(reach * max(depth.shape)))
    front = hidden
    passable = ~torn
    for _ in range(steps):
        front = _spread(front) & passable & ~hidden
        if not front.any():
            break
        hidden |= front
    known = ~hidden & ~torn
    if not known.any():
        return None
    filled = fill_holes(disparity, known)
    behind = np.where(hidden | torn, np.minimum(filled, disparity), disparity)
    return Background((LAYERS.behind / np.maximum(behind, 1e-6)).astype(np.float32), hidden, torn)


def _near_side(disparity: FloatMap, torn: BoolMap) -> BoolMap:
    """Pixels of torn places, and just beside them, that belong to what is nearer."""
    around = torn
    for _ in range(2):
        around = _spread(around)
    low, high = _extremes(disparity, np.minimum), _extremes(disparity, np.maximum)
    for _ in range(2):
        low, high = _extremes(low, np.minimum), _extremes(high, np.maximum)
    nearer = disparity > 0.5 * (low + high)
    return np.asarray(around & nearer)


def _corners(cells: BoolMap) -> BoolMap:
    """Pixels (H, W) at the corners of cells (H-1, W-1)."""
    touched = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.bool_)
    for row in (0, 1):
        for column in (0, 1):
            touched[row : row + cells.shape[0], column : column + cells.shape[1]] |= cells
    return touched


def _spread(mask: BoolMap) -> BoolMap:
    """A mask grown by one pixel in the four directions."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _extremes(values: FloatMap, extreme: Any) -> FloatMap:
    """The largest or smallest value among each pixel and its four neighbours."""
    found = values.copy()
    found[1:] = extreme(found[1:], values[:-1])
    found[:-1] = extreme(found[:-1], values[1:])
    found[:, 1:] = extreme(found[:, 1:], values[:, :-1])
    found[:, :-1] = extreme(found[:, :-1], values[:, 1:])
    return found
