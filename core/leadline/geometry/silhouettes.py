"""Where one object ends and another begins behind it: the cells of the lattice that must not be bridged.

A steep surface is not an edge. Seen in perspective, the disparity of a plane is linear in the image, however flat the
angle under which it is seen (a floor towards the horizon); so what counts is the change of disparity beyond what the
slopes on either side continue to. Networks draw an edge as a ramp of a few pixels; the whole ramp is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.types import BoolMap, FloatMap

#: Half the width of a ramp that still counts as one edge, as a share of the lattice's long edge.
RAMP_SHARE = 0.004
#: Within a ramp, steps at least this share of the mean step belong to it.
RAMP_STEP = 0.5


def silhouette_cells(depth: npt.NDArray[np.floating[Any]], threshold: float) -> BoolMap:
    """Cells (rows-1, columns-1) that cross a silhouette.

    Args:
        depth: (rows, columns) of the lattice, > 0.
        threshold: Relative jump that counts, in (0, 1): 0.1 cuts where the nearer side lies 10 % nearer than the
            farther one. At 1 or above nothing is cut.
    """
    rows, columns = depth.shape
    cells = np.zeros((rows - 1, columns - 1), np.bool_)
    if threshold >= 1:
        return cells
    disparity = (1.0 / depth).astype(np.float32)
    reach = max(1, round(RAMP_SHARE * max(rows, columns)))
    across = _cut_edges(disparity, 1, reach, threshold)
    cells |= across[:-1] | across[1:]
    down = _cut_edges(disparity, 0, reach, threshold)
    cells |= down[:, :-1] | down[:, 1:]
    return cells


def _cut_edges(disparity: FloatMap, axis: int, reach: int, threshold: float) -> BoolMap:
    """Edges between neighbours along ``axis`` (one fewer than vertices there) that belong to a jump."""
    count = disparity.shape[axis]
    at = np.arange(count - 1)
    start, end = np.maximum(at - reach, 0), np.minimum(at + 1 + reach, count - 1)
    before, after = np.maximum(start - reach, 0), np.minimum(end + reach, count - 1)
    shape = (-1, 1) if axis == 0 else (1, -1)

    def along(numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        return numbers.astype(np.float32).reshape(shape)

    near_side, far_side = np.take(disparity, start, axis), np.take(disparity, end, axis)
    change = far_side - near_side
    steps = along(end - start)
    lead_in = (near_side - np.take(disparity, before, axis)) / along(np.maximum(start - before, 1))
    lead_out = (np.take(disparity, after, axis) - far_side) / along(np.maximum(after - end, 1))
    # At the border of the picture one side has no run-up; the other side speaks for both.
    lead_in = np.where(along(start - before) > 0, lead_in, lead_out)
    lead_out = np.where(along(after - end) > 0, lead_out, lead_in)

    expected = np.clip(change, np.minimum(lead_in, lead_out) * steps, np.maximum(lead_in, lead_out) * steps)
    excess = change - expected
    jumps = np.abs(excess) > threshold * np.maximum(near_side, far_side)
    own_step = np.diff(disparity, axis=axis) - expected / steps
    cut: BoolMap = jumps & (own_step * np.sign(excess) >= RAMP_STEP * np.abs(excess) / steps)
    return cut
