"""Depth over time: flicker without ground truth; temporal error, OPW and lag with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.tuned import FILMS
from leadline.types import BoolMap, Floats


@dataclass(frozen=True)
class Flicker:
    """Result of :func:`flicker`.

    Attributes:
        mean: Mean over frame pairs, in shares of the sequence's 2–98 percentile range; 0 for a constant sequence.
        per_pair: One value per pair of neighbouring frames; ``None`` where no pixel could be followed.
        followed: Mean share of pixels that could be followed.
    """

    mean: float | None
    per_pair: tuple[float | None, ...]
    followed: float


def _follow(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where each pixel of ``after`` was in ``before``: (H, W, 2) x, y, and bool (H, W) whether flow is consistent."""
    import cv2  # noqa: PLC0415

    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (before, after)]
    solver = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)
    height, width = grey[0].shape
    back = np.asarray(solver.calc(grey[1], grey[0], np.zeros((height, width, 2), np.float32)))
    forth = np.asarray(solver.calc(grey[0], grey[1], np.zeros((height, width, 2), np.float32)))
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    source = grid + back
    returned = cv2.remap(forth, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = ((source >= 0) & (source <= np.array([width - 1, height - 1]))).all(-1)
    return source, inside & (np.linalg.norm(back + returned, axis=-1) < FILMS.flow_px)


def flicker(maps: Sequence[Floats], images: Sequence[npt.NDArray[np.uint8]] | None = None) -> Flicker:
    """Mean absolute change between neighbouring frames, along the optical flow of the pictures.

    Args:
        maps: Depth maps (H, W) of one size, all in one space (a sequence's raw predictions, or metres).
        images: The uint8 RGB (H, W, 3) frames; DIS optical flow carries the earlier map to the later frame, and
            pixels whose forward and backward flow disagree are left out. ``None``: a still camera and scene.

    Camera motion towards the scene changes true depth, too, so compare models on one sequence, not sequences.
    """
    import cv2  # noqa: PLC0415

    if len(maps) < 2 or len({m.shape for m in maps}) != 1:
        raise InputError("flicker needs at least two maps of one size")
    if images is not None and [i.shape[:2] for i in images] != [m.shape for m in maps]:
        raise InputError("flicker needs one image per map, of the same size")
    low, high = np.percentile(np.stack([m[::4, ::4] for m in maps]), [2.0, 98.0])
    span = float(high - low)
    per_pair: list[float | None] = []
    followed = []
    for index in range(1, len(maps)):
        before, after = maps[index - 1].astype(np.float32), maps[index].astype(np.float32)
        seen = np.ones(after.shape, dtype=bool)
        if images is not None:
            source, seen = _follow(images[index - 1], images[index])
            x, y = source[..., 0], source[..., 1]
            before = np.asarray(cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        followed.append(float(seen.mean()))
        change = float(np.abs(after - before)[seen].mean(dtype=np.float64)) if seen.any() else None
        per_pair.append(None if change is None else (change / span if span > 0 else 0.0))
    known = [value for value in per_pair if value is not None]
    return Flicker(float(np.mean(known)) if known else None, tuple(per_pair), float(np.mean(followed)))


def temporal_error(
    now_m: Floats, before_m: Floats, truth_now_m: Floats, truth_before_m: Floats, flow: Floats, seen: BoolMap
) -> float | None:
    """Temporal alignment error through flow: by how much depth changes otherwise than it really does.

    Every point that both frames show is followed by its true flow; its depth before, times the factor by which it truly
    changed, is what this frame should have said. The result is the mean absolute difference from that, relative to the true
    depth. A constant error of a point costs nothing here: that is what AbsRel is for.

    Args:
        now_m, before_m: (H, W) predicted metres of two neighbouring frames, aligned once for the whole film.
        truth_now_m, truth_before_m: (H, W) true metres; 0 where unknown.
        flow: (H, W, 2), pixel p of this frame was at p + flow before.
        seen: bool (H, W), whether it was visible there.

    Returns:
        None if no point can be followed.
    """
    source = _grid(flow.shape[0], flow.shape[1]) + flow.astype(np.float32)
    was_m, predicted_m = _sampled(truth_before_m, source, nearest=True), _sampled(before_m, source)
    usable = seen & (truth_now_m > 0) & (was_m > 0)
    factor = np.where(usable, truth_now_m / np.where(was_m > 0, was_m, 1.0), 1.0)
    usable &= (
        np.abs(np.log(np.where(usable, factor, 1.0))) < FILMS.largest_change
    )  # the nearest pixel before was another surface
    if not usable.any():
        return None
    off = np.abs(now_m - predicted_m * factor)[usable] / truth_now_m[usable]
    return float(off.mean(dtype=np.float64))


def pose_error(
    now_m: Floats, before_m: Floats, intrinsics: Floats, pose_now: Floats, pose_before: Floats, valid: BoolMap
) -> float | None:
    """Temporal alignment error through pose, for still scenes: each frame's depth against the other's, seen from its place.

    The points of one frame are carried into the other by their poses and compared with its depth there, relative to it;
    both ways, averaged (Video Depth Anything, arXiv 2501.12375, section 4.1).

    Args:
        now_m, before_m: (H, W) predicted metres, aligned once for the whole film.
        intrinsics: (3, 3), pixel centres at whole numbers.
        pose_now, pose_before: (4, 4) camera to world.
        valid: bool (H, W), pixels to carry (no sky, nothing that moves by itself).

    Returns:
        None if nothing lands in the other frame.
    """
    errors = []
    for here, there, mine, other in (
        (now_m, before_m, pose_now, pose_before),
        (before_m, now_m, pose_before, pose_now),
    ):
        height, width = here.shape
        homogeneous = np.dstack([_grid(height, width), np.ones((height, width))]) @ np.linalg.inv(intrinsics).T
        points = (homogeneous * here[..., None])[valid & (here > 0)]
        move = np.linalg.inv(other) @ mine
        seen = points @ move[:3, :3].T + move[:3, 3]
        ahead = seen[:, 2] > 1e-6
        pixel = seen[ahead] @ intrinsics.T
        column, row = (np.rint(pixel[:, i] / pixel[:, 2]).astype(int) for i in (0, 1))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        measured = there[row[inside], column[inside]]
        carried = seen[ahead][inside, 2]
        # Of two surfaces on one line of sight, the nearer one hides the other: only what could be the same is compared.
        same = (measured > 0) & (np.abs(np.log(carried / np.maximum(measured, 1e-9))) < FILMS.hidden)
        if same.any():
            errors.append(float(np.mean(np.abs(carried - measured)[same] / measured[same])))
    return float(np.mean(errors)) if errors else None


def opw(
    now: Floats,
    before: Floats,
    image_now: npt.NDArray[np.uint8],
    image_before: npt.NDArray[np.uint8],
    flow: Floats,
    seen: BoolMap,
) -> float | None:
    """Optical-flow warping error: mean change of depth along the flow, weighted by how alike the two pictures look there.

    Weights are exp(-50 d^2) with d the distance of the two colours in [0, 1]^3 (NVDS, arXiv 2307.08695). True changes of depth
    count, too, so it compares methods on one film.

    Args:
        now, before: (H, W) maps in one space.
        image_now, image_before: uint8 (H, W, 3).
        flow: (H, W, 2), pixel p of this frame was at p + flow before.
        seen: bool (H, W), whether it was visible there.

    Returns:
        None if no point can be followed.
    """
    source = _grid(flow.shape[0], flow.shape[1]) + flow.astype(np.float32)
    colour = image_now.astype(np.float32) / 255 - _sampled(image_before.astype(np.float32) / 255, source)
    weight = np.exp(-50.0 * (colour**2).sum(-1)) * seen
    if weight.sum() <= 0:
        return None
    return float((weight * np.abs(now - _sampled(before, source))).sum() / weight.sum())


def lag_frames(response: Sequence[float], step: int, share: float = 0.5) -> int | None:
    """Frames until a step has come through: 0 if the frame with the step already shows ``share`` of it.

    Args:
        response: What was measured in each frame (the mean depth of an object, say).
        step: Index of the first frame after the step.
        share: Of the whole step, which is taken from the mean before to the mean of the last quarter of the frames.

    Returns:
        None if it never comes through, or if there is no step.
    """
    values = np.asarray(response, dtype=np.float64)
    if not 0 < step < len(values):
        raise InputError(f"a step at frame {step} of {len(values)}: it needs frames before and after it")
    start, end = values[:step].mean(), values[-max(1, (len(values) - step) // 4) :].mean()
    if start == end:
        return None
    through = (values[step:] - start) / (end - start) >= share
    return int(np.argmax(through)) if through.any() else None


def _grid(height: int, width: int) -> npt.NDArray[np.float32]:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _sampled(image: Floats, source: npt.NDArray[np.float32], nearest: bool = False) -> npt.NDArray[np.float32]:
    import cv2  # noqa: PLC0415

    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    picture = np.ascontiguousarray(image, dtype=np.float32)
    return np.asarray(
        cv2.remap(picture, source[..., 0], source[..., 1], how, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
