"""Completion of a stream: scale and shift carry over between frames, without lag on a cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.completion.fit import Fit
from leadline.completion.methods import complete, fit_points
from leadline.completion.options import FusionOptions
from leadline.completion.tuned import STREAM
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.files.image import ImageLike, read_image
from leadline.sensors.sparse import SparseDepth, points_of

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Memory:
    """What the last frames said: sums of a weighted least squares over (value, target)."""

    weight: float
    mean_value: float
    mean_target: float
    variance: float
    covariance: float
    sigma: float
    thumbnail: Vector
    space: Space
    age: int

    @property
    def fit(self) -> Fit:
        scale = self.covariance / self.variance if self.variance > 0 else 0.0
        return Fit(scale, self.mean_target - scale * self.mean_value, self.sigma, "carried over", 1.0)


class TemporalFusion:
    """:func:`complete` for the frames of one stream, in order.

    The fit of each frame sees its own points and, as a prior worth at most 200 points, those of the frames before
    (fading by a tenth per frame). So a frame of many points follows its own, one of few follows the stream, and one of
    none keeps the last scale and shift, for at most ``max_age`` frames. A cut in the images, or points that contradict
    the memory, clears it at once.

    Args:
        max_age: Frames without points for which the memory may speak.
        options: See :func:`complete`.
    """

    def __init__(self, max_age: int = 30, options: FusionOptions | None = None) -> None:
        self.max_age = max_age
        self.options = options or FusionOptions()
        self._memory: _Memory | None = None

    def reset(self) -> None:
        """Forget the frames before."""
        self._memory = None

    def complete(
        self,
        image: ImageLike,
        prediction: DepthPrediction,
        sparse_depth_m: npt.NDArray[Any] | SparseDepth,
        **settings: Any,
    ) -> DepthPrediction:
        """The next frame; arguments and result as :func:`complete`.

        ``meta["completion"]["temporal"]`` says "own points", "own points and memory", "memory", "cut" or "contradiction"
        (both: memory cleared) or "nothing".
        """
        rgb = read_image(image)
        sparse, _ = points_of(sparse_depth_m, (rgb.shape[0], rgb.shape[1]))
        thumbnail = _thumbnail(rgb)
        memory, note = self._memory, ""
        if memory is not None and (
            memory.space is not prediction.space or _correlation(memory.thumbnail, thumbnail) < STREAM.same_scene
        ):
            memory, note = None, "cut"
        if len(sparse) == 0:
            return self._without_points(rgb, prediction, sparse, memory, thumbnail, note, settings)
        if prediction.shape != (rgb.shape[0], rgb.shape[1]):
            return complete(rgb, prediction, sparse, options=self.options, **settings)  # raises with the reason
        values = prediction.values[sparse.v, sparse.u].astype(np.float64)
        own = fit_points(prediction, sparse, self.options.seed)
        target: Vector = prediction.space.from_depth(sparse.depth_m.astype(np.float64))
        if memory is not None and _contradicts(memory.fit, own, values, target):
            memory, note = None, "contradiction"
        if (
            memory is not None and len(sparse) < STREAM.fewest_to_contradict
        ):  # too few to vote: the memory tells outliers
            believed = _believed(memory, values, target, sparse.depth_m)
            if not believed.any():
                return self._without_points(rgb, prediction, sparse.subset(believed), memory, thumbnail, note, settings)
            sparse, values, target = sparse.subset(believed), values[believed], target[believed]
        fit, updated = _joined(memory, own, values, target, thumbnail, prediction.space)
        self._memory = updated
        result = complete(rgb, prediction, sparse, fit=fit, options=self.options, **settings)
        return _noted(result, note or ("own points" if memory is None else "own points and memory"))

    def _without_points(
        self,
        rgb: npt.NDArray[np.uint8],
        prediction: DepthPrediction,
        sparse: SparseDepth,
        memory: _Memory | None,
        thumbnail: Vector,
        note: str,
        settings: dict[str, Any],
    ) -> DepthPrediction:
        if memory is not None and memory.age < self.max_age:
            self._memory = replace(memory, age=memory.age + 1, thumbnail=thumbnail, weight=memory.weight * STREAM.kept)
            result = complete(rgb, prediction, sparse, fit=memory.fit, options=self.options, **settings)
            return _noted(result, "memory")
        self._memory = None
        return _noted(complete(rgb, prediction, sparse, options=self.options, **settings), note or "nothing")


def _noted(result: DepthPrediction, note: str) -> DepthPrediction:
    report = {**result.meta["completion"], "temporal": note}
    return replace(result, meta={**result.meta, "completion": report})


def _thumbnail(rgb: npt.NDArray[np.uint8]) -> Vector:
    grey = cv2.cvtColor(cv2.resize(rgb, STREAM.thumbnail, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    centred = cv2.GaussianBlur(grey.astype(np.float64), (0, 0), 1.0)
    return np.asarray(centred - centred.mean())


def _correlation(a: Vector, b: Vector) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norm) if norm > 1e-6 else 1.0


def _contradicts(carried: Fit, own: Fit, values: Vector, target: Vector) -> bool:
    if len(values) < STREAM.fewest_to_contradict:
        return False
    residual = 1.4826 * float(np.median(np.abs(carried.scale * values + carried.shift - target)))
    return residual > STREAM.contradiction * max(own.sigma, carried.sigma, 1e-9)


def _believed(
    memory: _Memory, values: Vector, target: Vector, depth_m: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Which of few points are within six sigma, or a factor of 1.5 in depth, of what the memory expects."""
    expected = memory.fit.scale * values + memory.fit.shift
    factor = np.abs(np.log(memory.space.to_depth(expected) / depth_m.astype(np.float64)))
    result: npt.NDArray[np.bool_] = (np.abs(expected - target) <= 6 * memory.sigma) | (factor <= np.log(1.5))
    return result


def _joined(
    memory: _Memory | None, own: Fit, values: Vector, target: Vector, thumbnail: Vector, space: Space
) -> tuple[Fit, _Memory]:
    """The fit over memory and this frame's inliers, and the memory for the next frame."""
    judge = own if memory is None or len(values) >= STREAM.fewest_to_contradict else memory.fit
    residual = np.abs(judge.scale * values + judge.shift - target)
    near = residual <= max(4 * max(judge.sigma, 0.0 if memory is None else memory.sigma), 1e-6)
    if memory is not None and not near.any():
        near[:] = True
    if memory is None and (own.scale <= 0 or own.kind != "scale and shift"):
        near[:] = True
    x, y = values[near], target[near]
    weight = float(len(x))
    parts = [(weight, x.mean(), y.mean(), x.var(), ((x - x.mean()) * (y - y.mean())).mean())]
    if memory is not None:
        parts.append((memory.weight, memory.mean_value, memory.mean_target, memory.variance, memory.covariance))
    total = sum(part[0] for part in parts)
    mean_x = sum(w * mx for w, mx, _, _, _ in parts) / total
    mean_y = sum(w * my for w, _, my, _, _ in parts) / total
    variance = sum(w * (v + (mx - mean_x) ** 2) for w, mx, _, v, _ in parts) / total
    covariance = sum(w * (c + (mx - mean_x) * (my - mean_y)) for w, mx, my, _, c in parts) / total
    sigma = own.sigma if memory is None or len(values) >= STREAM.fewest_to_contradict else memory.sigma
    kept = min(total, STREAM.points) * STREAM.kept
    updated = _Memory(kept, mean_x, mean_y, variance, covariance, sigma, thumbnail, space, 0)
    if (
        memory is None or covariance <= 0
    ):  # alone, or no slope to be had from both: the frame's own fit, and a memory of it
        spread = max(float(values.var()), 1e-6)
        updated = replace(updated, variance=spread, covariance=own.scale * spread)
        updated = replace(updated, mean_value=float(x.mean()), mean_target=own.scale * float(x.mean()) + own.shift)
        return own, updated
    return replace(updated.fit, kind="scale and shift"), updated
