"""How deep a scene is, from surfaces that are known to be flat and at right angles: a floor, walls.

A relative map leaves one number of the scene's shape open, how much farther the farthest thing is than the nearest. A
wrong one tilts floors and walls. Two surfaces whose angle is known settle it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.ranges import ValueSpace, assumed_depth, ends_of
from leadline.geometry.silhouettes import silhouette_cells
from leadline.geometry.tuned import PLANES
from leadline.sensors.pinhole import Pinhole
from leadline.types import BoolMap

Floats = npt.NDArray[np.float64]

#: Ratios of far to near that are tried.
RATIOS = np.geomspace(*PLANES.ratios)


@dataclass(frozen=True)
class Flat:
    """A flat part of the picture.

    Attributes:
        pixels: bool (H, W).
        axis: Flats of the same number are parallel, of different numbers at right angles.
    """

    pixels: BoolMap
    axis: int


@dataclass(frozen=True)
class Straightened:
    """Attributes:
    ratio: Far over near.
    normals: (N, 3) unit normals of the flats, towards the camera; axes as in :mod:`leadline.geometry`.
    off_degrees: How far, in the mean, their angles are from what they should be.
    """

    ratio: float
    normals: Floats
    off_degrees: float


def flat_around(depth: npt.NDArray[np.floating[Any]], camera: Pinhole, row: int, column: int) -> BoolMap:
    """Pixels (H, W) around one that belong to the same smooth surface, as far as about a tenth of the picture.

    Args:
        depth: (H, W) > 0 of any size with the picture's proportions; right in its shape only roughly.
        camera: Of the picture.
        row, column: In ``depth``.

    Raises:
        ValueError: There is no surface there: an edge, or something too small.
    """
    height, width = depth.shape
    radius = max(3.0, PLANES.patch_radius * max(depth.shape))
    y, x = np.mgrid[0:height, 0:width]
    near = np.hypot(y - row, x - column) <= radius
    normals = _normals(depth, camera, max(1, round(PLANES.baseline * radius)))
    around = np.hypot(y - row, x - column) <= max(2.0, 0.25 * radius)
    typical = np.median(normals[around], axis=0)
    alike = normals @ (typical / max(np.linalg.norm(typical), 1e-12)) > np.cos(np.radians(PLANES.patch_degrees))
    torn = np.zeros(depth.shape, np.bool_)
    cells = silhouette_cells(depth, PLANES.jump)
    torn[:-1, :-1] |= cells
    torn[1:, 1:] |= cells
    found = _connected(near & alike & ~torn, row, column)
    if np.count_nonzero(found) < PLANES.fewest_pixels:
        raise ValueError("there is no flat surface at this point; choose one away from edges")
    return found


def straighten(
    values: npt.NDArray[np.floating[Any]], space: ValueSpace, camera: Pinhole, flats: Sequence[Flat]
) -> Straightened:
    """The ratio of far to near for which flats are flat, parallel and at right angles as they should be.

    Args:
        values: (H, W), a relative map in ``space``; of any size with the picture's proportions.
        camera: Of the picture, with its focal length.

    Raises:
        ValueError: Fewer than two flats.
    """
    if len(flats) < 2:
        raise ValueError("two surfaces at least are needed, such as a floor and a wall")
    height, width = values.shape
    pixels = [_some(flat.pixels) for flat in flats]
    ends, marked = ends_of(values), [values[at] for at in pixels]
    directions = [
        camera.rays((x + 0.5) * (camera.width / width), (y + 0.5) * (camera.height / height)).astype(np.float64)
        for y, x in pixels
    ]

    def fit(ratio: float) -> tuple[float, Floats, float]:
        depths = [assumed_depth(part, space, 1.0, ratio, ends) for part in marked]
        planes = [_plane(rays * depth[:, None]) for depth, rays in zip(depths, directions, strict=True)]
        normals = np.array([normal for normal, _ in planes])
        bent = float(np.mean([bend**2 for _, bend in planes]))
        off = [_off(normals[i], normals[j], flats[i].axis == flats[j].axis) for i, j in _pairs(flats)]
        return float(np.mean(np.square(off))) + bent, normals, float(np.degrees(np.mean(off)))

    tried, step = RATIOS, float(RATIOS[1] / RATIOS[0])
    for _ in range(3):
        ratio = float(min(tried, key=lambda one: fit(float(one))[0]))
        tried, step = ratio * np.geomspace(1 / step, step, 11), step**0.2
    _, normals, off = fit(ratio)
    return Straightened(ratio, normals, off)


def _some(pixels: BoolMap) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of no more pixels than are needed, spread evenly."""
    rows, columns = np.nonzero(pixels)
    step = max(1, len(rows) // PLANES.samples)
    return rows[::step], columns[::step]


def _pairs(flats: Sequence[Flat]) -> list[tuple[int, int]]:
    return list(combinations(range(len(flats)), 2))


def _off(one: Floats, other: Floats, parallel: bool) -> float:
    """Radians between the angle of two normals and what it should be."""
    cosine = float(np.clip(abs(one @ other), 0.0, 1.0))
    return float(np.arccos(cosine)) if parallel else float(np.arcsin(cosine))


def _plane(points: Floats) -> tuple[Floats, float]:
    """Unit normal towards the camera of points (N, 3), and how far they bend as a share of their size."""
    centre = points.mean(axis=0)
    sizes, axes = np.linalg.eigh(np.cov((points - centre).T))
    normal = axes[:, 0] * (-1.0 if axes[:, 0] @ centre > 0 else 1.0)
    return normal, float(np.sqrt(max(sizes[0], 0.0) / max(sizes[1], 1e-30)))


def _normals(depth: npt.NDArray[np.floating[Any]], camera: Pinhole, reach: int) -> Floats:
    """(H, W, 3) unit normals, from the points ``reach`` pixels away on either side."""
    height, width = depth.shape
    y, x = np.mgrid[0:height, 0:width] + 0.5
    points = camera.unproject(x * (camera.width / width), y * (camera.height / height), depth).astype(np.float64)

    def across(axis: int) -> Floats:
        at = np.arange(depth.shape[axis])
        before, after = np.maximum(at - reach, 0), np.minimum(at + reach, len(at) - 1)
        return np.take(points, after, axis=axis) - np.take(points, before, axis=axis)

    normals = np.cross(across(0), across(1))
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30))


def _connected(mask: BoolMap, row: int, column: int) -> BoolMap:
    """The part of a mask that hangs together with the pixels next to (row, column)."""
    found = np.zeros_like(mask)
    found[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    found &= mask
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= mask
        if (grown == found).all():
            return found
        found = grown
