"""Where the metres of a stream come from: measured points, the fit of a moment ago, a known scale, flat ground."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from leadline.completion.blocks import beside
from leadline.completion.ground import ground_fit
from leadline.completion.methods import complete
from leadline.completion.temporal import TemporalFusion
from leadline.depth.prediction import DepthPrediction
from leadline.sensors.sparse import SparseDepth
from leadline.streaming.by_motion import points_by_motion
from leadline.streaming.frames import Frame, Metric, Sweep
from leadline.streaming.measured import measured_points, no_points, seen_points, without_sweep
from leadline.streaming.motion import VisualMotion
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tracks import TrackedPoints
from leadline.streaming.tuned import EVIDENCE
from leadline.streaming.watch import ExtrinsicsWatch


class ScaleSource:
    """Finds the metres for each frame of one stream; scale, shift and the images' motion carry over from frame to frame."""

    def __init__(self, device: Any = "cpu") -> None:
        self._device = device
        self._temporal = TemporalFusion(max_age=sys.maxsize)  # how long is for hold_s to say, in seconds
        self._motion = VisualMotion()
        self._tracks = TrackedPoints()
        self._watch = ExtrinsicsWatch()
        self._measured_ns: int | None = None

    def reset(self) -> None:
        """Forget the frames before."""
        self._temporal.reset()
        self._motion.reset()
        self._tracks.reset()
        self._watch.reset()
        self._measured_ns = None

    def metric(self, frame: Frame, raw: DepthPrediction, settings: StreamSettings) -> Metric:
        """The best evidence there is for this frame.

        In this order: the model's own metres, points measured near the image (carried to its time), points triangulated over
        odometry, the last fit while it is young, a configured scale, flat ground below the camera.
        """
        if raw.metric:
            return Metric(raw, "the model itself", warnings=frame.warnings)
        frame, sigma_growth = self._at_image_time(frame, settings)
        reasons: list[str] = []
        points, reason = measured_points(frame, settings)
        if points is not None and len(points):
            self._measured_ns = frame.stamp_ns
            watched = beside(lambda: self._watched(frame, raw, settings))
            try:
                done = self._temporal.complete(frame.rgb, raw, points, camera=frame.camera, device=self._device)
            finally:
                noticed = watched()
            words = f"{len(points)} measured points"
            if frame.sweep is not None and frame.sweep.moved_by and abs(frame.sweep.age_s) > EVIDENCE.at_once_s:
                words += f", carried over {1e3 * frame.sweep.age_s:.0f} ms by {frame.sweep.moved_by}"
            return Metric(_less_certain(done, sigma_growth), words, warnings=(*frame.warnings, *noticed))
        reasons.append(reason or "no points or sparse depth came near the image in time")
        tracked = self._tracked(frame, raw, settings)
        if isinstance(tracked, str):
            reasons.extend([tracked] if tracked else [])
        else:
            self._measured_ns = frame.stamp_ns
            done = self._temporal.complete(frame.rgb, raw, tracked, camera=frame.camera, device=self._device)
            words, few = f"{len(tracked)} points triangulated over odometry", len(tracked) < EVIDENCE.few_tracked
            doubt = f"only {len(tracked)} points have enough parallax to be triangulated: the scale is uncertain"
            uncertain = _less_certain(done, EVIDENCE.few_sigma if few else EVIDENCE.tracked_sigma)
            return Metric(uncertain, words, warnings=(*frame.warnings, doubt) if few else frame.warnings)
        if self._remembers(frame.stamp_ns, settings):
            done = self._temporal.complete(frame.rgb, raw, no_points(raw.shape), device=self._device)
            if done.metric:  # not after a cut
                held = "no points could be carried to this image: the scale of a moment ago is held"
                return Metric(done, "the fit of a moment ago", warnings=(*frame.warnings, held))
        if settings.metric_scale != 0:
            scaled = raw.aligned(settings.metric_scale, settings.metric_shift)
            return Metric(scaled, "parameter metric_scale", warnings=frame.warnings)
        return self._on_the_ground(frame, raw, settings, reasons)

    def _watched(self, frame: Frame, raw: DepthPrediction, settings: StreamSettings) -> list[str]:
        """Whether the extrinsics look wrong, by sweeps that stand where the image was taken."""
        sweep = frame.sweep
        if not settings.watch_extrinsics or sweep is None or frame.camera is None:
            return []
        at_once = abs(sweep.age_s) <= EVIDENCE.at_once_s or (
            sweep.moved_by.startswith("TF") and sweep.extrapolated_s == 0
        )
        if at_once and sweep.to_camera is not None:
            self._watch.add(frame.stamp_ns, frame.rgb, raw, sweep, frame.camera, settings)
        warning = self._watch.warning()
        return [warning] if warning else []

    def _tracked(self, frame: Frame, raw: DepthPrediction, settings: StreamSettings) -> SparseDepth | str:
        """Triangulated points of this image, or why there are too few; nothing to say without odometry."""
        if not settings.track_points or frame.pose is None or frame.camera is None:
            self._tracks.reset()
            return ""
        self._tracks.add(frame.rgb, frame.camera, frame.pose)
        return points_by_motion(raw, self._tracks.parallax(frame.camera))

    def _on_the_ground(
        self, frame: Frame, raw: DepthPrediction, settings: StreamSettings, reasons: list[str]
    ) -> Metric:
        ground = frame.ground
        if ground is None:
            reasons.append("no odometry or ground_frame in TF, and neither metric_scale nor camera_height_m is set")
            return Metric(None, reason="; ".join(reasons), warnings=frame.warnings)
        if frame.camera is None:
            reasons.append(f"{ground.source}: needs camera_info, and none that fits the image has come")
            return Metric(None, reason="; ".join(reasons), warnings=frame.warnings)
        found = ground_fit(raw, frame.camera, ground, settings.max_depth_m)
        if isinstance(found, str):
            reasons.append(found)
            return Metric(None, reason="; ".join(reasons), warnings=frame.warnings)
        done = complete(frame.rgb, raw, no_points(raw.shape), fit=found.fit, device=self._device)
        return Metric(_less_certain(done, found.relative_sigma), ground.source, warnings=frame.warnings)

    def _at_image_time(self, frame: Frame, settings: StreamSettings) -> tuple[Frame, float]:
        """The frame with its sweep as the camera sees it at the image's time, and the sigma that this adds, as a share of depth.

        What TF did not undo is undone by the images' own motion. Points that nobody could carry are used if they are
        within the tolerance, and that is said; else they are left out.
        """
        sweep = frame.sweep
        if sweep is None or sweep.to_camera is None:
            return frame, 0.0
        age_s = abs(sweep.age_s)
        if sweep.moved_by:
            return frame, EVIDENCE.growth_tf * age_s + EVIDENCE.growth_extrapolated * sweep.extrapolated_s
        if age_s <= EVIDENCE.at_once_s:
            if frame.camera is not None:  # later images may carry this sweep from here
                self._motion.add(frame.stamp_ns, frame.rgb)
            return frame, 0.0
        carried = self._carried(sweep, frame, settings)
        if carried is not None:
            return replace(frame, sweep=carried), EVIDENCE.growth_seen * age_s
        text = f"the points are {1e3 * sweep.age_s:.0f} ms older than the image and nothing tells how the camera moved meanwhile"
        if age_s <= settings.sync_tolerance_s:
            text = f"not compensated: {text} (no fixed frame in TF, too little texture to track)"
            return replace(frame, warnings=(*frame.warnings, text)), EVIDENCE.growth_nobody * age_s
        return replace(without_sweep(frame), warnings=(*frame.warnings, text)), 0.0

    def _carried(self, sweep: Sweep, frame: Frame, settings: StreamSettings) -> Sweep | None:
        """The sweep moved to the image's time by what the images show; None if they show too little."""
        if frame.camera is None or sweep.to_camera is None:
            return None
        self._motion.add(frame.stamp_ns, frame.rgb)
        reference_ns = self._motion.reference(sweep.stamp_ns, settings.sync_tolerance_s)
        if reference_ns is None:
            return None
        seen = seen_points(sweep, frame.camera, settings)
        found = self._motion.since(sweep.stamp_ns, reference_ns, seen, frame.camera)
        if found is None:
            return None
        by = f"the images' own motion ({found.tracks} tracks, {found.error_px:.1f} px)"
        return replace(sweep, to_camera=found.motion @ sweep.to_camera, moved_by=by)

    def _remembers(self, stamp_ns: int, settings: StreamSettings) -> bool:
        """Whether points came recently enough for their fit to speak for this frame; if not, it is forgotten."""
        if self._measured_ns is None:
            return False
        young = settings.hold_s > 0 and abs(stamp_ns - self._measured_ns) <= settings.hold_s * 1e9
        if not young:
            self._temporal.reset()
            self._measured_ns = None
        return young


def _less_certain(prediction: DepthPrediction, relative_sigma: float) -> DepthPrediction:
    """A metric prediction with an independent error added to its sigma, as a share of depth."""
    if relative_sigma <= 0 or not prediction.metric:
        return prediction
    added = np.float32(relative_sigma) * prediction.values
    sigma = added if prediction.uncertainty is None else np.hypot(prediction.uncertainty, added)
    return replace(prediction, uncertainty=sigma)
