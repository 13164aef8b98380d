"""Leadline: depth from photographs.

>>> import leadline
>>> prediction = leadline.load("fiffdepth-mini").predict("photo.jpg")   # doctest: +SKIP
>>> prediction.values.shape, prediction.space                         # doctest: +SKIP
((747, 1024), <Space.SQRT_DISPARITY: 'sqrt_disparity'>)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leadline.errors import Cancelled, CheckpointError, InputError, LeadlineError, NotMetricError
from leadline.version import __version__ as __version__

if TYPE_CHECKING:
    from leadline.completion import complete
    from leadline.completion.one_photo import metric_from_one_photo
    from leadline.depth.normals import NormalsPrediction
    from leadline.depth.prediction import DepthPrediction
    from leadline.depth.spaces import Space
    from leadline.files.calibration import read_calibration
    from leadline.files.image import ImageLike, read_image
    from leadline.files.pointfiles import read_points
    from leadline.geometry.export import export_mesh
    from leadline.inference.estimator import DepthEstimator, load
    from leadline.inference.video import predict_video
    from leadline.sensors.lidar import project_points
    from leadline.sensors.sparse import SparseDepth
    from leadline.serving.client.client import Client

__all__ = [
    "Cancelled",
    "CheckpointError",
    "Client",
    "DepthEstimator",
    "DepthPrediction",
    "ImageLike",
    "InputError",
    "LeadlineError",
    "NormalsPrediction",
    "NotMetricError",
    "Space",
    "SparseDepth",
    "complete",
    "export_mesh",
    "load",
    "metric_from_one_photo",
    "predict_video",
    "project_points",
    "read_calibration",
    "read_image",
    "read_points",
]

#: Public names imported when first used: `import leadline` reads neither torch nor NumPy.
_LAZY = {
    "NormalsPrediction": "leadline.depth.normals",
    "DepthPrediction": "leadline.depth.prediction",
    "Space": "leadline.depth.spaces",
    "Client": "leadline.serving.client.client",
    "DepthEstimator": "leadline.inference.estimator",
    "ImageLike": "leadline.files.image",
    "SparseDepth": "leadline.sensors.sparse",
    "complete": "leadline.completion",
    "export_mesh": "leadline.geometry.export",
    "load": "leadline.inference.estimator",
    "metric_from_one_photo": "leadline.completion.one_photo",
    "predict_video": "leadline.inference.video",
    "project_points": "leadline.sensors.lidar",
    "read_calibration": "leadline.files.calibration",
    "read_image": "leadline.files.image",
    "read_points": "leadline.files.pointfiles",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'leadline' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
