"""Adaptive triangles on a lattice: many where the surface bends, few where it is flat, no cracks.

Longest-edge bisection of right triangles (Evans, Kirkpatrick, Townsend: "Right-triangulated irregular networks",
Algorithmica 30, 2001). Every vertex except the corners of the coarsest blocks halves exactly one long edge. Its error is
the distance between the vertex and the middle of that edge, raised to at least the errors of the four vertices that
halve the short edges; so keeping the vertices with the largest errors always gives a closed triangulation, and the
number of triangles follows from the number of vertices kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import COUNTS
from leadline.types import BoolMap, FloatMap

FloatArray = npt.NDArray[np.floating[Any]]


def adaptive_faces(
    points: FloatArray, scale: FloatArray, dropped: BoolMap, block: int, target_faces: int
) -> npt.NDArray[np.int64]:
    """Triangles (F, 3) over the lattice, counter-clockwise seen by the viewer.

    Args:
        points: (R, C, 3) vertices; R - 1 and C - 1 are multiples of ``block``.
        scale: (R, C) or scalar; errors are divided by it (the distance, for what a camera sees).
        dropped: (R-1, C-1) cells that get no triangles; their outline is kept at full resolution.
        block: Edge of the coarsest squares, a power of two.
        target_faces: Wanted number of triangles, met within 2 % where the mesh allows it; the outlines and the coarsest
            blocks are never coarsened further.
    """
    rows, columns = dropped.shape
    if rows % block or columns % block or block & (block - 1):
        raise ValueError(f"{rows}×{columns} cells do not divide into blocks of {block}")
    errors = _saturated_errors(points, scale, _outline(dropped), block)
    order = np.argsort(errors, axis=None, kind="stable")[::-1]
    roots = _root_triangles(rows, columns, block)
    # Keeping a vertex adds two triangles; how many of them are dropped is known only afterwards: ask again, a bit better.
    low, high = int(np.count_nonzero(np.isinf(errors))), errors.size - 1
    kept = min(max(low, (target_faces - len(roots)) // 2), high)
    for _ in range(COUNTS.tries):
        # Equal errors stand or fall together: a child must not stay when its parent goes.
        active = errors.ravel() > errors.ravel()[order[kept]]
        triangles = _bisect(roots, active | np.isinf(errors.ravel()), 2 * (block.bit_length() - 1))
        centre_row, centre_column = np.divmod(triangles, columns + 1)
        triangles = triangles[~dropped[centre_row.sum(axis=1) // 3, centre_column.sum(axis=1) // 3]]
        excess = len(triangles) - target_faces
        if abs(excess) <= COUNTS.close_enough * target_faces:
            break
        low, high = (low, kept) if excess > 0 else (kept, high)
        if high - low < 2:
            break
        guess = kept - excess // 2
        kept = guess if low < guess < high else (low + high) // 2
    return np.asarray(triangles)


def _outline(dropped: BoolMap) -> BoolMap:
    """Vertices (R, C) of all cells that touch the border between kept and dropped cells."""
    rows, columns = dropped.shape
    any_dropped, any_kept = np.zeros((2, rows + 1, columns + 1), np.bool_)
    places = [(slice(r, rows + r), slice(c, columns + c)) for r in (0, 1) for c in (0, 1)]
    for place in places:
        any_dropped[place] |= dropped
        any_kept[place] |= ~dropped
    border = any_dropped & any_kept
    touching = np.zeros_like(dropped)
    for place in places:
        touching |= border[place]
    outline = np.zeros_like(border)
    for place in places:
        outline[place] |= touching
    return outline


def _saturated_errors(points: FloatArray, scale: FloatArray, outline: BoolMap, block: int) -> FloatMap:
    """(R, C) errors, each at least as large as those of its children; infinite on the outline."""
    rows, columns = outline.shape
    flat = points.reshape(-1, 3)
    errors = np.where(outline, np.float32(np.inf), np.float32(0)).ravel()
    scale = np.broadcast_to(scale, outline.shape).ravel()

    def visit(first_row: int, first_column: int, size: int, diagonal: bool, children: list[tuple[int, int]]) -> None:
        """Raise the errors of all vertices that halve edges of one kind; ``children`` are offsets to finer vertices."""
        half = size // 2
        row = np.arange(first_row, rows, size)[:, None]
        column = np.arange(first_column, columns, size)[None, :]
        at = row * columns + column
        if diagonal:  # the directions alternate like a chessboard
            to_end = half * columns + np.where((row // size + column // size) % 2 == 0, half, -half)
        else:
            to_end = np.full(at.shape, half if first_row == 0 else half * columns)
        bend = flat[at] - 0.5 * (flat[at - to_end] + flat[at + to_end])
        worst = np.maximum(errors[at], np.sqrt(np.einsum("rcx,rcx->rc", bend, bend)) / scale[at])
        for row_step, column_step in children:
            child_row = np.clip(row + row_step, 0, rows - 1)
            child_column = np.clip(column + column_step, 0, columns - 1)
            np.maximum(worst, errors[child_row * columns + child_column], out=worst)
        errors[at] = worst

    size = 2
    while size <= block:
        half, quarter = size // 2, size // 4
        around = [(r, c) for r in (-quarter, quarter) for c in (-quarter, quarter)] if quarter else []
        visit(0, half, size, False, around)
        visit(half, 0, size, False, around)
        visit(half, half, size, True, [(-half, 0), (half, 0), (0, -half), (0, half)])
        size *= 2
    return np.asarray(errors.reshape(rows, columns), np.float32)


def _root_triangles(rows: int, columns: int, block: int) -> npt.NDArray[np.int64]:
    """Two triangles (long edge first, then the right angle) for each coarsest square."""
    width = columns + 1
    row, column = np.meshgrid(np.arange(0, rows, block), np.arange(0, columns, block), indexing="ij")
    even = ((row + column) // block % 2 == 0).ravel()
    upper_left = (row * width + column).ravel()
    upper_right, lower_left = upper_left + block, upper_left + block * width
    lower_right = lower_left + block
    along_down = np.stack([lower_right, upper_left, lower_left, upper_left, lower_right, upper_right], axis=1)
    along_up = np.stack([lower_left, upper_right, upper_left, upper_right, lower_left, lower_right], axis=1)
    return np.where(even[:, None], along_down, along_up).reshape(-1, 3)


def _bisect(triangles: npt.NDArray[np.int64], active: BoolMap, levels: int) -> npt.NDArray[np.int64]:
    """Split every triangle whose long edge is halved by an active vertex, level by level."""
    done = []
    for _ in range(levels):
        first, second, corner = triangles.T
        middle = (first + second) // 2
        split = active[middle]
        done.append(triangles[~split])
        first, second, corner, middle = first[split], second[split], corner[split], middle[split]
        triangles = np.concatenate(
            [np.stack([corner, first, middle], axis=1), np.stack([second, corner, middle], axis=1)]
        )
    return np.concatenate([*done, triangles])
