"""One frame of a stream: prediction, metric evidence, limits. The same for the live node and for recorded bags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction, Validity
from leadline.streaming.frames import NOT_SHOWN, Frame, StreamResult
from leadline.streaming.ros.encodings import with_limits
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tuned import PUBLISH
from leadline.types import BoolMap, FloatMap, RgbImage

if TYPE_CHECKING:
    from leadline.inference.estimator import DepthEstimator
    from leadline.streaming.evidence import ScaleSource
    from leadline.video.stabiliser import Stabiliser

OnProgress = Callable[[str, float], None]


class DepthPipeline:
    """A loaded model with the memory of the streams that share it."""

    def __init__(self, estimator: DepthEstimator, settings: StreamSettings) -> None:
        self.estimator = estimator
        self.settings = settings  # those it was loaded with
        self._scales: dict[str, ScaleSource] = {}
        self._stabilisers: dict[str, Stabiliser] = {}

    @classmethod
    def load(cls, settings: StreamSettings) -> DepthPipeline:
        """Load the model that ``settings`` name.

        Raises:
            LeadlineError: Weights or device are not usable.
        """
        from leadline.inference.estimator import load  # noqa: PLC0415  (torch)

        compiled: Any = settings.compile  # one of its choices
        speed: Any = settings.speed
        backend: Any = settings.backend
        estimator = load(
            settings.model,
            device=settings.device,
            precision=settings.precision,
            decoder=settings.decoder,
            compiled=compiled,
            speed=speed,
            backend=backend,
        )
        return cls(estimator, settings)

    @property
    def on_cpu(self) -> bool:
        """Whether the network runs on the cores that everything else runs on, too."""
        return self.estimator.devices[0].type == "cpu"

    def warm_up(self, settings: StreamSettings, sizes: Sequence[tuple[int, int]] = ()) -> None:
        """Run on empty images, so that the first real frame is not the slow one; compiled as often as CUDA graphs need.

        Args:
            settings: Of the frames to come.
            sizes: (width, height) of each camera's images; one of 640×480 if none is known.
        """
        images = [np.zeros((height, width, 3), np.uint8) for width, height in sizes or [(640, 480)]]
        if self.on_cpu:  # where batches are not used, and only the shape matters
            batches = [[image] for image in {image.shape: image for image in images}.values()]
        else:
            batches = [images[:count] for count in range(1, len(images) + 1)]
        for batch in batches:
            for _ in range(1 if settings.compile == "off" else 3):
                self.predict(batch, settings)

    def predict(
        self, images: Sequence[RgbImage], settings: StreamSettings, on_progress: OnProgress | None = None
    ) -> list[DepthPrediction]:
        """The model's maps of images, in one batch.

        Raises:
            InputError: An image or the settings cannot be used.
            Cancelled: ``on_progress`` asked for it.
        """
        return self.estimator.predict(list(images), **predict_options(settings), on_progress=on_progress)

    def finish(
        self, frame: Frame, raw: DepthPrediction, settings: StreamSettings, stream: str = "", model_s: float = 0.0
    ) -> StreamResult:
        """Depth of one frame from the model's map of it: its edges, its metres, what it shares with the frames before.

        Args:
            frame: In the order of time within its stream.
            raw: What :meth:`predict` gave for its image.
            settings: Of this stream.
            stream: Whose memory to use. Streams may be finished side by side, but not the frames of one.
            model_s: What the prediction took, for the result.
        """
        predicted = monotonic()
        raw = with_detail(raw, frame.rgb, settings)
        metric = self._scale(stream).metric(frame, raw, settings)
        steady = self._steady(stream, metric.prediction or raw, frame.rgb, settings)
        if metric.prediction is None:
            raw = steady
        else:
            metric = replace(metric, prediction=steady)
        ended = monotonic()
        depth_m = sigma_m = validity = None
        if metric.prediction is not None:
            depth_m, sigma_m = published(metric.prediction, settings, frame.outside)
            validity = published_validity(metric.prediction, depth_m, frame.outside)
        return StreamResult(
            raw=raw,
            depth_m=depth_m,
            uncertainty_m=sigma_m,
            validity=validity,
            evidence=metric.evidence,
            reason=metric.reason,
            warnings=metric.warnings,
            camera=frame.camera,
            model_s=model_s,
            completion_s=ended - predicted,
        )

    def process(self, frame: Frame, settings: StreamSettings, on_progress: OnProgress | None = None) -> StreamResult:
        """Depth of one frame of the only stream.

        Raises:
            InputError: The image or the settings cannot be used.
            Cancelled: ``on_progress`` asked for it.
        """
        started = monotonic()
        (raw,) = self.predict([frame.rgb], settings, on_progress)
        return self.finish(frame, raw, settings, model_s=monotonic() - started)

    def reset(self, stream: str = "") -> None:
        """Forget what was learnt from earlier frames of a stream."""
        if stream in self._scales:
            self._scales[stream].reset()
        self._stabilisers.pop(stream, None)

    def _steady(
        self, stream: str, prediction: DepthPrediction, rgb: RgbImage, settings: StreamSettings
    ) -> DepthPrediction:
        """``prediction`` as it continues the stream, if ``settings`` want that."""
        if not settings.steady:
            self._stabilisers.pop(stream, None)
            return prediction
        from leadline.video.stabiliser import Stabiliser  # noqa: PLC0415  (OpenCV)

        return self._stabilisers.setdefault(stream, Stabiliser()).step(prediction, rgb)

    def _scale(self, stream: str) -> ScaleSource:
        from leadline.streaming.evidence import ScaleSource  # noqa: PLC0415  (torch)

        if stream not in self._scales:
            self._scales[stream] = ScaleSource(self.estimator.devices[0])
        return self._scales[stream]


def predict_options(settings: StreamSettings) -> dict[str, Any]:
    """For :meth:`leadline.DepthEstimator.predict`, where None is the default and a size of 0 the image's own."""
    return {
        "steps": settings.steps or None,
        "ensemble": settings.ensemble,
        "size": max(settings.size, 0) if settings.size else None,
        "seed": settings.seed,
    }


def with_detail(raw: DepthPrediction, rgb: RgbImage, settings: StreamSettings) -> DepthPrediction:
    """``raw`` with its edges where the image has them, if ``settings`` want that."""
    if settings.detail == "off":
        return raw
    from leadline.inference.refine.edges import sharpen  # noqa: PLC0415  (OpenCV)

    return sharpen(raw, rgb)


def published(
    metric: DepthPrediction, settings: StreamSettings, outside: BoolMap | None = None
) -> tuple[FloatMap, FloatMap | None]:
    """Depth and uncertainty by REP-117: the sky is +Inf, what has no evidence NaN, and what is ``outside`` of the image NaN."""
    depth_m, sigma_m = metric.evident_depth_m, metric.uncertainty
    if outside is not None:
        depth_m = np.where(outside, np.float32(np.nan), depth_m)
    if sigma_m is not None and settings.max_relative_uncertainty > 0:
        unsure = sigma_m > settings.max_relative_uncertainty * depth_m
        if unsure.any():
            depth_m = depth_m.copy()
            np.copyto(depth_m, np.float32(np.nan), where=unsure)
    if sigma_m is None:
        return with_limits(depth_m, settings.min_depth_m, settings.max_depth_m), None
    limited_m, shown_sigma_m = np.empty_like(depth_m), np.empty_like(sigma_m)
    with np.errstate(invalid="ignore"):
        for top in range(0, len(depth_m), PUBLISH.band_rows):
            band = slice(top, top + PUBLISH.band_rows)
            limited_m[band] = with_limits(depth_m[band], settings.min_depth_m, settings.max_depth_m)
            zero_or_nan = limited_m[band] - limited_m[band]  # NaN where depth is not finite
            np.add(sigma_m[band], zero_or_nan, out=shown_sigma_m[band])
    return limited_m, shown_sigma_m


def published_validity(
    metric: DepthPrediction, depth_m: FloatMap, outside: BoolMap | None = None
) -> npt.NDArray[np.uint8]:
    """What stands behind each pixel that is published: uint8 (H, W) of :class:`Validity`, :data:`NOT_SHOWN` outside."""
    if metric.validity is None:
        validity = np.full(metric.shape, Validity.MODEL_ONLY, np.uint8)
    else:
        validity = metric.validity.copy()
    beyond = np.isposinf(depth_m) & (validity != Validity.SKY)
    np.copyto(validity, np.uint8(Validity.OUT_OF_RANGE), where=beyond | np.isneginf(depth_m))
    if outside is not None:
        np.copyto(validity, np.uint8(NOT_SHOWN), where=outside)
    return validity
