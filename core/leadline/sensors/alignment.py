"""Whether a LiDAR is where its extrinsics say: its depth jumps against the edges of the image.

Where a LiDAR's depth jumps from a near surface to a far one, the image has an edge, too. A single jump says little: the edge
lies anywhere within a beam's spacing, and images have other edges. Hundreds of them agree on one small motion. Each jump has a
profile: how much of an edge the image shows at each offset from where the jump is, blurred by the beams' spacing. A small motion
(rotation w, translation t) moves the image of a point at depth z with slopes x, y by

    du = f (t_x / z - x t_z / z + w_y (1 + x²) - w_x x y - w_z y)
    dv = f (t_y / z - y t_z / z - w_x (1 + y²) + w_y x y + w_z x)

so the sum of all profiles at those offsets, as a function of the motion, has its peak at what the points should be moved by.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.sparse import SparseDepth
from leadline.sensors.tuned import ALIGNMENT
from leadline.types import FloatMap

Matrix = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Component:
    """One way in which extrinsics can be wrong, in the camera's axes.

    Attributes:
        name: What the points must do to be right again, by the sign of the value: (positive, negative).
        turns: A rotation (values in radians) or a translation (metres).
        axis: 0 right, 1 down, 2 forward.
        values: Those tried.
    """

    name: tuple[str, str]
    turns: bool
    axis: int
    values: Matrix


def _tried(most: float, count: int) -> Matrix:
    return np.linspace(-most, most, count)


_ANGLES, _SIDEWAYS, _FORWARDS = (
    np.deg2rad(_tried(*ALIGNMENT.turns_deg)),
    _tried(*ALIGNMENT.sideways_m),
    _tried(*ALIGNMENT.forward_m),
)
COMPONENTS = (
    Component(("turn up", "turn down"), True, 0, _ANGLES),
    Component(("turn right", "turn left"), True, 1, _ANGLES),
    Component(("roll clockwise", "roll anticlockwise"), True, 2, _ANGLES),
    Component(("move right", "move left"), False, 0, _SIDEWAYS),
    Component(("move down", "move up"), False, 1, _SIDEWAYS),
    Component(("move forward", "move back"), False, 2, _FORWARDS),
)


@dataclass(frozen=True)
class Jumps:
    """Depth jumps of a sweep in an image, and what the image shows around each.

    Attributes:
        x, y: Slopes of the ray, float64 (n,).
        depth_m: Of the near side, float64 (n,).
        upright: bool (n,): depth jumps along the row (the edge is upright) or along the column.
        strip: int64 (n,), which of the upright strips of the image it is in, from the left, of ``ALIGNMENT.strips``.
        profile: float32 (n, 2 r + 1), how much of an edge the image has at each offset from -r to r pixels.
    """

    x: Matrix
    y: Matrix
    depth_m: Matrix
    upright: npt.NDArray[np.bool_]
    strip: npt.NDArray[np.int64]
    profile: FloatMap

    def __len__(self) -> int:
        return len(self.x)


def depth_jumps(points: SparseDepth, grey: Grey, predicted_nearness: FloatMap, camera: CalibratedCamera) -> Jumps:
    """Jumps of the points and the edges of the image around them.

    Args:
        points: Of a sweep at the image's time.
        grey: The image, uint8 (H, W).
        predicted_nearness: float32 (H, W) in [0, 1], 1 is nearest: a model's map of the image. It tells edges in depth from
            those of paint and shadow.
        camera: Of the image.
    """
    near, side, upright, gap = _jumps(points)
    reach = int(np.clip(np.ceil(ALIGNMENT.reach_rad * camera.matrix[0, 0]), 6, 40))
    step = np.where(upright[:, None], [1.0, 0.0], [0.0, 1.0])
    places = np.stack([points.u[near], points.v[near]], axis=1) + step * (side * gap / 2)[:, None]
    offsets = np.arange(-reach, reach + 1)
    profile = np.zeros((len(near), len(offsets)), np.float32)
    for axis in (0, 1):
        mine = np.flatnonzero(upright == (axis == 0))
        if not len(mine):
            continue
        edge, falls = _edges(grey, predicted_nearness, axis)
        where = places[mine, None, :] + offsets[None, :, None] * step[mine][:, None, :]
        u, v = (np.ascontiguousarray(where[..., k], np.float32) for k in (0, 1))
        contrast = cv2.remap(edge, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        fall = cv2.remap(falls, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        profile[mine] = contrast * np.maximum(0.0, fall * side[mine][:, None])
    profile -= profile.mean(axis=1, keepdims=True)
    np.maximum(profile, 0.0, out=profile)
    total = profile.sum(axis=1)
    rays = camera.unproject(places, np.ones(len(places)))
    strip = np.clip(places[:, 0] * ALIGNMENT.strips / camera.width, 0, ALIGNMENT.strips - 1).astype(np.int64)
    usable = (total > 1e-4) & np.isfinite(rays).all(axis=1)
    profile = profile[usable] / total[usable][:, None]
    return Jumps(
        rays[usable, 0],
        rays[usable, 1],
        points.depth_m[near][usable].astype(np.float64),
        upright[usable],
        strip[usable],
        _blurred(profile, gap[usable]),
    )


def agreement(jumps: Jumps, focal_px: float) -> FloatMap:
    """How well the jumps of each strip lie on edges once moved by each value of each component: float32 (strips, 6, values), sums over
    jumps."""
    within = (np.arange(ALIGNMENT.strips)[:, None] == jumps.strip).astype(np.float64)
    return np.stack([within @ _agreement(jumps, focal_px, one) for one in COMPONENTS], axis=1).astype(np.float32)


def _agreement(jumps: Jumps, focal_px: float, component: Component) -> Matrix:
    """(n, values) of each jump: how much of an edge is where a value of the component puts it."""
    count, width = jumps.profile.shape
    reach = width // 2
    slope = _pixels_per_unit(jumps, focal_px, component)
    place = np.clip(slope[:, None] * component.values + reach, 0, width - 1.001)
    left = place.astype(np.int64)
    share = place - left
    rows = np.arange(count)[:, None]
    values = (1 - share) * jumps.profile[rows, left] + share * jumps.profile[rows, left + 1]
    return np.asarray(values)


def _pixels_per_unit(jumps: Jumps, focal_px: float, component: Component) -> Matrix:
    """(n,) by how many pixels along its axis each jump moves for a unit of the component."""
    x, y, near, zero = jumps.x, jumps.y, 1.0 / jumps.depth_m, np.zeros(len(jumps))
    if component.turns:
        across, down = [-x * y, 1 + x * x, -y], [-(1 + y * y), x * y, x]
    else:
        across, down = [near, zero, -x * near], [zero, near, -y * near]
    return focal_px * np.where(jumps.upright, across[component.axis], down[component.axis])


def _blurred(profile: FloatMap, gap_px: Matrix) -> FloatMap:
    """Each profile by the spacing of its beams, between which the edge may lie anywhere, and with a sum of 1.

    The blur is a box and no bell: a place a quarter of the spacing off the middle is as good as the middle. By a bell, one long edge between
    two rings would draw the points to itself.
    """
    if not len(profile):
        return profile
    result = np.empty_like(profile)
    ends = np.quantile(gap_px, np.linspace(0, 1, ALIGNMENT.blurs + 1))
    group = np.clip(np.searchsorted(ends[1:-1], gap_px), 0, ALIGNMENT.blurs - 1)
    for number in range(ALIGNMENT.blurs):
        mine = group == number
        if mine.any():
            soft = cv2.GaussianBlur(
                profile[mine], (0, 0), sigmaX=ALIGNMENT.edge_px, sigmaY=1e-6, borderType=cv2.BORDER_CONSTANT
            )
            box = _box(max(1.0, ALIGNMENT.spacings * float(gap_px[mine].mean())))
            result[mine] = cv2.filter2D(soft, -1, box, borderType=cv2.BORDER_CONSTANT)
    return result


def _box(width_px: float) -> FloatMap:
    """(1, odd) weights of a mean over ``width_px`` pixels, at least one; those at the ends count in part."""
    side = int(np.ceil((width_px - 1) / 2))
    weights = np.ones(2 * side + 1, np.float32)
    if side:
        weights[[0, -1]] = (width_px - (2 * side - 1)) / 2
    return (weights / weights.sum())[None]


def _jumps(points: SparseDepth) -> tuple[npt.NDArray[np.int64], Matrix, npt.NDArray[np.bool_], Matrix]:
    """Index of the near point, direction to the far side (±1), whether along the row, and the beams' spacing there."""
    nothing = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool), np.zeros(0)
    if len(points) < 50:
        return nothing
    places = np.stack([points.u, points.v], axis=1).astype(np.float64)
    near = 1.0 / points.depth_m.astype(np.float64)
    candidates = _where_depth_changes(points)
    if not len(candidates):
        return nothing
    found = []
    for axis, stretch in ((0, (1.0, 3.0)), (1, (3.0, 1.0))):
        scaled = places * stretch
        tree = cKDTree(scaled)
        _, around = tree.query(scaled[candidates], k=min(ALIGNMENT.neighbours + 1, len(points)))
        along = _along(places[around] - places[candidates, None], axis)
        on_axis = along != 0
        after = _nearest(np.where(on_axis & (along > 0), along, np.inf))
        before = _nearest(np.where(on_axis & (along < 0), -along, np.inf))
        for side, far, back in ((1.0, after, before), (-1.0, before, after)):
            both = np.flatnonzero(
                (far[0] >= 0) & (back[0] >= 0) & (back[1] <= ALIGNMENT.widest_px) & (far[1] <= 2 * ALIGNMENT.widest_px)
            )
            here = near[candidates[both]]
            behind, other = around[both, far[0][both]], around[both, back[0][both]]
            # On a plane nearness is linear in the image; behind an edge it falls below that line.
            goes_on = here - (near[other] - here) * far[1][both] / back[1][both]
            jump = near[behind] < here / (1 + ALIGNMENT.jump_share)
            jump &= near[behind] < goes_on - ALIGNMENT.off_surface * here
            jump &= np.abs(near[other] / here - 1) < ALIGNMENT.jump_share / 2
            here, behind, gap = here[jump], behind[jump], far[1][both[jump]]
            _, beyond = tree.query(scaled[behind], k=min(ALIGNMENT.neighbours_beyond + 1, len(points)))
            on = side * _along(places[beyond] - places[behind, None], axis)
            third = _nearest(np.where(on > gap[:, None] / 2, on, np.inf))
            falls = (near[behind] - near[beyond[np.arange(len(on)), third[0]]]) / np.where(third[0] >= 0, third[1], 1.0)
            # What goes over into the far side as that goes on lies on it: the road's side of a kerb, one ring before it.
            chosen = both[jump][(third[0] < 0) | (here > near[behind] + falls * gap + ALIGNMENT.off_surface * here)]
            found.append(
                (candidates[chosen], np.full(len(chosen), side), np.full(len(chosen), axis == 0), back[1][chosen])
            )
    parts = [np.concatenate([one[k] for one in found]) for k in range(4)]
    return parts[0], parts[1], parts[2], parts[3]


def _along(step: Matrix, axis: int) -> Matrix:
    """How far steps (..., 2) lead along an axis; 0 for those that lead off it."""
    along, off = step[..., axis], np.abs(step[..., 1 - axis])
    return np.where(off <= ALIGNMENT.off_axis * np.abs(along) + 0.5, along, 0.0)


def _where_depth_changes(points: SparseDepth) -> npt.NDArray[np.int64]:
    """Points with others around them that are much farther; only these are worth a closer look."""
    height, width = points.size
    rows, columns = points.v // ALIGNMENT.cell_px, points.u // ALIGNMENT.cell_px
    farthest = np.zeros((height // ALIGNMENT.cell_px + 1, width // ALIGNMENT.cell_px + 1), np.float32)
    np.maximum.at(farthest, (rows, columns), points.depth_m)
    around = cv2.dilate(farthest, np.ones((3, 3), np.uint8))
    return np.flatnonzero(around[rows, columns] > (1 + ALIGNMENT.jump_share) * points.depth_m)


def _nearest(distance: Matrix) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Column of the smallest value in each row, -1 where all are infinite; and that value."""
    column = distance.argmin(axis=1)
    value = distance[np.arange(len(distance)), column]
    return np.where(np.isfinite(value), column, -1), value


def _edges(grey: Grey, nearness: FloatMap, axis: int) -> tuple[FloatMap, FloatMap]:
    """Contrast of the image along an axis, relative to that around it; and how fast the predicted nearness falls along it."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.8).astype(np.float32)
    order = (1, 0) if axis == 0 else (0, 1)
    contrast = np.abs(cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3))
    contrast /= cv2.blur(contrast, (25, 25)) + 8.0
    blur = max(1.0, ALIGNMENT.predicted_blur * grey.shape[1])
    fall = -cv2.Sobel(cv2.GaussianBlur(nearness.astype(np.float32), (0, 0), blur), cv2.CV_32F, *order, ksize=3)
    return np.minimum(contrast, np.float32(4.0)), np.asarray(fall, np.float32)
