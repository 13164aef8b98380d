"""The regular lattice of vertices laid over a picture, and how maps are sampled on it.

The lattice covers the picture from outer edge to outer edge: vertex (r, c) of R × C lies at the image point
``(c / (C-1) * width, r / (R-1) * height)``, so texture coordinates are exact at any resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import LATTICE
from leadline.types import FloatMap

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Lattice:
    """``rows × columns`` vertices over a ``height × width`` picture; at least 2 × 2."""

    rows: int
    columns: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 2 or min(self.height, self.width) < 1:
            raise ValueError(
                f"{self.rows}×{self.columns} vertices over {self.height}×{self.width} pixels is no lattice"
            )

    @classmethod
    def over(cls, height: int, width: int, long_edge: int | None = None) -> Lattice:
        """As many vertices as pixels, or ``long_edge`` vertices along the long edge and square cells."""
        if long_edge is None:
            return cls(max(height, 2), max(width, 2), height, width)
        scale = (max(long_edge, 2) - 1) / max(height, width)
        return cls(max(round(height * scale), 1) + 1, max(round(width * scale), 1) + 1, height, width)

    @classmethod
    def divisible(
        cls, height: int, width: int, long_edge: int | None = None, largest_block: int = 64
    ) -> tuple[Lattice, int]:
        """A lattice near ``long_edge`` whose cells come in square blocks of a power of two; and the block's edge."""
        plain = cls.over(height, width, long_edge)
        short = min(plain.rows, plain.columns) - 1
        block = largest_block
        while block > 2 and short < 4 * block:
            block //= 2
        rows, columns = (max(round((n - 1) / block), 1) * block + 1 for n in (plain.rows, plain.columns))
        return cls(rows, columns, height, width), block

    @property
    def x_px(self) -> FloatArray:
        """(columns,) image abscissae, 0 at the left outer edge."""
        return np.linspace(0.0, self.width, self.columns)

    @property
    def y_px(self) -> FloatArray:
        """(rows,) image ordinates, 0 at the upper outer edge."""
        return np.linspace(0.0, self.height, self.rows)

    def uv(self) -> FloatMap:
        """(rows * columns, 2) texture coordinates, origin at the lower left."""
        grid = np.empty((self.rows, self.columns, 2), np.float32)
        grid[..., 0] = np.linspace(0.0, 1.0, self.columns)
        grid[..., 1] = np.linspace(1.0, 0.0, self.rows)[:, None]
        return grid.reshape(-1, 2)

    def nearest(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of the nearest pixels of (height, width[, channels]) on the lattice."""
        rows, columns = _nearest(self.height, self.rows), _nearest(self.width, self.columns)
        return np.take(np.take(image, columns, axis=1), rows, axis=0)

    def linear(self, image: FloatArray) -> FloatMap:
        """Bilinear values of a (height, width) map on the lattice, float32; the border continues outwards."""
        low, high, weight = _linear(self.width, self.columns)
        image = image.astype(np.float32, copy=False)
        return _between(np.take(image, low, 1), np.take(image, high, 1), weight, _linear(self.height, self.rows))

    def depth(self, depth: FloatArray) -> FloatMap:
        """Depth (height, width) > 0 on the lattice, float32.

        Interpolated as disparity, which is linear on planes; where neighbours belong to different surfaces the
        nearest pixel is taken, so that no vertex hangs between an object and its background.
        """
        disparity = np.divide(1.0, depth, dtype=np.float32)
        rows, columns = _linear(self.height, self.rows), _linear(self.width, self.columns)
        left, right = np.take(disparity, columns[0], axis=1), np.take(disparity, columns[1], axis=1)
        sampled = _between(left, right, columns[2], rows)
        low, high = np.minimum(left, right), np.maximum(left, right, out=right)
        low = np.minimum(np.take(low, rows[0], axis=0), np.take(low, rows[1], axis=0))
        high = np.maximum(np.take(high, rows[0], axis=0), np.take(high, rows[1], axis=0))
        torn = high > low * np.float32(LATTICE.edge_ratio)
        sampled[torn] = self.nearest(disparity)[torn]
        return np.divide(1.0, sampled, out=sampled)

    def quads(self) -> npt.NDArray[np.int32]:
        """((rows-1) * (columns-1), 4) vertex numbers, counter-clockwise seen by the viewer."""
        corner = np.arange(self.rows - 1, dtype=np.int32)[:, None] * self.columns + np.arange(
            self.columns - 1, dtype=np.int32
        )
        faces = np.empty((self.rows - 1, self.columns - 1, 4), np.int32)
        for place, offset in enumerate((0, self.columns, self.columns + 1, 1)):
            np.add(corner, offset, out=faces[..., place])
        return faces.reshape(-1, 4)

    def edges(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """All edges (E, 2) as vertex numbers, and the edges ((rows-1) * (columns-1), 4) of each quadrilateral.

        The edges of a quadrilateral stand in the order of its corners in :meth:`quads`: from each corner to the next.
        """
        vertex = np.arange(self.rows * self.columns, dtype=np.int32).reshape(self.rows, self.columns)
        across = np.arange(self.rows * (self.columns - 1), dtype=np.int32).reshape(self.rows, -1)
        down = across.size + np.arange((self.rows - 1) * self.columns, dtype=np.int32).reshape(-1, self.columns)
        ends = np.empty((across.size + down.size, 2), np.int32)
        ends[: across.size, 0], ends[: across.size, 1] = vertex[:, :-1].ravel(), vertex[:, 1:].ravel()
        ends[across.size :, 0], ends[across.size :, 1] = vertex[:-1].ravel(), vertex[1:].ravel()
        of_quad = np.empty((self.rows - 1, self.columns - 1, 4), np.int32)
        for place, side in enumerate((down[:, :-1], across[1:], down[:, 1:], across[:-1])):
            of_quad[..., place] = side
        return ends, of_quad.reshape(-1, 4)


def _positions(pixels: int, vertices: int) -> FloatArray:
    """Pixel-index coordinates of the vertices along one axis: outer edge to outer edge, held at the border pixels."""
    return np.clip(np.linspace(0.0, pixels, vertices) - 0.5, 0.0, pixels - 1.0)


def _nearest(pixels: int, vertices: int) -> npt.NDArray[np.intp]:
    return np.minimum(np.linspace(0.0, pixels, vertices).astype(np.intp), pixels - 1)


def _linear(pixels: int, vertices: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatMap]:
    at = _positions(pixels, vertices)
    low = np.minimum(at.astype(np.intp), max(pixels - 2, 0))
    return low, np.minimum(low + 1, pixels - 1), (at - low).astype(np.float32)


_Axis = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatMap]


def _between(left: FloatMap, right: FloatMap, weight: FloatMap, rows: _Axis) -> FloatMap:
    """Linear interpolation across, then down."""
    across = right - left
    across *= weight
    across += left
    low, high, weight = rows
    upper, down = np.take(across, low, axis=0), np.take(across, high, axis=0)
    down -= upper
    down *= weight[:, None]
    down += upper
    return down
