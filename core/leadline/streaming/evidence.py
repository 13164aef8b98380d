"""Where the metres of a stream come from: measured points, the fit of a moment ago, a known scale, flat ground."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leadline.completion.fit import Fit
from leadline.completion.ground import ground_fit
from leadline.completion.methods import complete
from leadline.completion.temporal import TemporalFusion
from leadline.depth.prediction import DepthPrediction
from leadline.sensors.lidar import project_points
from leadline.sensors.sparse import SparseDepth
from leadline.streaming.settings import StreamSettings

if TYPE_CHECKING:
    from leadline.streaming.pipeline import Frame


@dataclass(frozen=True)
class Metric:
    """A metric prediction, or why there is none.

    Attributes:
        prediction: In metres; None if there is no evidence.
        evidence: In words; empty if there is none.
        reason: Why there is none; empty if there is.
    """

    prediction: DepthPrediction | None
    evidence: str = ""
    reason: str = ""


class ScaleSource:
    """Finds the metres for each frame of one stream; scale and shift carry over from frame to frame."""

    def __init__(self, device: Any = "cpu") -> None:
        self._device = device
        self._temporal = TemporalFusion(max_age=sys.maxsize)  # how long is for hold_s to say, in seconds
        self._measured_ns: int | None = None

    def reset(self) -> None:
        """Forget the frames before."""
        self._temporal.reset()
        self._measured_ns = None

    def metric(self, frame: Frame, raw: DepthPrediction, settings: StreamSettings) -> Metric:
        """The best evidence there is for this frame.

        In this order: the model's own metres, points measured with the image, the last fit while it is young, a
        configured scale, a known camera height over flat ground.
        """
        if raw.metric:
            return Metric(raw, "the model itself")
        reasons = []
        points, reason = measured_points(frame, settings)
        if points is not None and len(points):
            self._measured_ns = frame.stamp_ns
            done = self._temporal.complete(frame.rgb, raw, points, camera=frame.camera, device=self._device)
            return Metric(done, f"{len(points)} measured points")
        reasons.append(reason or "no points or sparse depth came with the image")
        if self._remembers(frame.stamp_ns, settings):
            done = self._temporal.complete(frame.rgb, raw, _no_points(raw.shape), device=self._device)
            if done.metric:  # not after a cut
                return Metric(done, "the fit of a moment ago")
        if settings.metric_scale != 0:
            return Metric(raw.aligned(settings.metric_scale, settings.metric_shift), "parameter metric_scale")
        if settings.camera_height_m > 0:
            fit_on_ground = self._ground(frame, raw, settings)
            if isinstance(fit_on_ground, Fit):
                nothing = _no_points(raw.shape)
                done = complete(frame.rgb, raw, nothing, fit=fit_on_ground, device=self._device)
                return Metric(done, "camera height over flat ground")
            reasons.append(fit_on_ground)
        else:
            reasons.append("neither metric_scale nor camera_height_m is set")
        return Metric(None, reason="; ".join(reasons))

    def _remembers(self, stamp_ns: int, settings: StreamSettings) -> bool:
        """Whether points came recently enough for their fit to speak for this frame; if not, it is forgotten."""
        if self._measured_ns is None:
            return False
        young = settings.hold_s > 0 and abs(stamp_ns - self._measured_ns) <= settings.hold_s * 1e9
        if not young:
            self.reset()
        return young

    @staticmethod
    def _ground(frame: Frame, raw: DepthPrediction, settings: StreamSettings) -> Fit | str:
        """The fit to flat ground below the camera, or why there is none."""
        if frame.camera is None:
            return "camera_height_m needs camera_info, and none that fits the image has come"
        return ground_fit(raw, frame.camera, settings.camera_height_m, settings.camera_pitch_deg, settings.max_depth_m)


def measured_points(frame: Frame, settings: StreamSettings) -> tuple[SparseDepth | None, str]:
    """Everything measured with a frame as points of the image, nearest first; or None and why not."""
    height, width = frame.rgb.shape[:2]
    found: list[SparseDepth] = []
    reason = ""
    if frame.points is not None:
        if frame.camera is None:
            reason = "points came, but no camera_info that fits the image"
        else:
            found.append(
                project_points(
                    frame.points,
                    frame.camera,
                    frame.lidar_to_camera,
                    min_range_m=settings.lidar_min_range_m,
                    max_range_m=settings.lidar_max_range_m,
                )
            )
            if not len(found[-1]):
                reason = "points came, but none of them is in the image; check the extrinsics"
    if frame.sparse_depth_m is not None:
        found.append(_rasterised(frame.sparse_depth_m, height, width))
        if not len(found[-1]):
            reason = "sparse depth came, but it is empty"
    if not found:
        return None, reason
    return found[0] if len(found) == 1 else _nearest_of(found), reason


def _rasterised(depth_m: npt.NDArray[np.float32], height: int, width: int) -> SparseDepth:
    """A depth image of any size as points of an image that shows the same view; the nearest of a pixel wins."""
    v, u = np.nonzero(depth_m > 0)
    depth = depth_m[v, u]
    rows, columns = depth_m.shape
    if (rows, columns) != (height, width):
        u = np.clip(np.rint((u + 0.5) * width / columns - 0.5).astype(np.int64), 0, width - 1)
        v = np.clip(np.rint((v + 0.5) * height / rows - 0.5).astype(np.int64), 0, height - 1)
    return _nearest_of([SparseDepth(u, v, depth, (height, width))])


def _nearest_of(parts: list[SparseDepth]) -> SparseDepth:
    height, width = parts[0].size
    nearest = np.full(height * width, np.inf, np.float32)
    for part in parts:
        np.minimum.at(nearest, part.v * width + part.u, part.depth_m)
    flat = np.flatnonzero(np.isfinite(nearest))
    v, u = np.divmod(flat, width)
    return SparseDepth(u, v, nearest[flat], (height, width))


def _no_points(size: tuple[int, int]) -> SparseDepth:
    nothing = np.zeros(0, np.int64)
    return SparseDepth(nothing, nothing, np.zeros(0, np.float32), size)
