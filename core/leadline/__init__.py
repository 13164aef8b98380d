"""Leadline: depth from photographs.

>>> import leadline
>>> prediction = leadline.load("fiffdepth-mini").predict("photo.jpg")   # doctest: +SKIP
>>> prediction.values.shape, prediction.space                         # doctest: +SKIP
((747, 1024), <Space.SQRT_DISPARITY: 'sqrt_disparity'>)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import Cancelled, CheckpointError, InputError, LeadlineError, NotMetricError

if TYPE_CHECKING:
    from leadline.completion import complete
    from leadline.completion.one_photo import metric_from_one_photo
    from leadline.geometry.export import export_mesh
    from leadline.inference.estimator import DepthEstimator, load
    from leadline.inference.video import predict_video

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "CheckpointError",
    "DepthEstimator",
    "DepthPrediction",
    "InputError",
    "LeadlineError",
    "NotMetricError",
    "Space",
    "complete",
    "export_mesh",
    "load",
    "metric_from_one_photo",
    "predict_video",
]

#: Names whose modules need torch; imported when first used.
_LAZY = {
    "DepthEstimator": "leadline.inference.estimator",
    "load": "leadline.inference.estimator",
    "complete": "leadline.completion",
    "export_mesh": "leadline.geometry.export",
    "metric_from_one_photo": "leadline.completion.one_photo",
    "predict_video": "leadline.inference.video",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'leadline' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
