"""Completion: from LiDAR points or sparse depth and a relative map to dense metric depth with an honest uncertainty.

>>> from leadline.completion import complete, project_points, read_calibration, read_points    # doctest: +SKIP
>>> calibration = read_calibration("calib.json")                                               # doctest: +SKIP
>>> sparse = project_points(read_points("scan.bin"), calibration.camera, calibration.lidar_to_camera)  # doctest: +SKIP
>>> metric = complete(image, model.predict(image), sparse)                                     # doctest: +SKIP
"""

from leadline.completion.conditioned import complete_with, predict_with_sparse
from leadline.completion.methods import complete
from leadline.completion.options import FusionOptions
from leadline.completion.temporal import TemporalFusion
from leadline.files.calibration import Calibration, read_calibration
from leadline.files.pointfiles import read_points
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.lidar import project_points
from leadline.sensors.sparse import SparseDepth
from leadline.sensors.transforms import extrinsic

__all__ = [
    "CalibratedCamera",
    "Calibration",
    "FusionOptions",
    "SparseDepth",
    "TemporalFusion",
    "complete",
    "complete_with",
    "extrinsic",
    "predict_with_sparse",
    "project_points",
    "read_calibration",
    "read_points",
]
