"""What goes into the pipeline of a stream and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.types import BoolMap, FloatMap, RgbImage

if TYPE_CHECKING:
    from leadline.sensors.camera import CalibratedCamera
    from leadline.sensors.ground import Ground

Matrix = npt.NDArray[np.float64]

#: In a validity map: the image does not show this pixel (the border of a rectified image).
NOT_SHOWN = 255


@dataclass(frozen=True)
class Sweep:
    """Points measured at about the time of an image.

    Attributes:
        points: float32 (N, 3) in the sensor's frame.
        to_camera: 4×4 into the camera's frame: as the camera stood when the image was taken if ``moved_by`` says how that
            is known, else as it stood at the sweep's time.
        stamp_ns: Of the sweep.
        age_s: Image's time less sweep's time; negative if the sweep is the later one.
        moved_by: What undid the robot's motion between the two ("TF through odom"); empty: nothing so far.
        extrapolated_s: Over how much of that time TF had to be carried on at constant velocity.
    """

    points: npt.NDArray[np.float32]
    to_camera: Matrix | None
    stamp_ns: int
    age_s: float = 0.0
    moved_by: str = ""
    extrapolated_s: float = 0.0


@dataclass(frozen=True)
class Frame:
    """An image and what was measured at about the same time.

    Attributes:
        stamp_ns: When the image was taken.
        rgb: uint8 (H, W, 3).
        camera: Of this image; None if unknown.
        sweep: The LiDAR points nearest in time; None if there are none.
        sparse_depth_m: float32 (H', W') in the image's view, 0 where nothing was measured; None if there is none.
        pose: 4×4, camera to a frame that stands still, at the image's time; None if unknown.
        ground: None if unknown.
        outside: bool (H, W), what a rectified image does not show; None if it shows all.
        warnings: What was met on the way that makes the metres less certain, in words.
    """

    stamp_ns: int
    rgb: RgbImage
    camera: CalibratedCamera | None = None
    sweep: Sweep | None = None
    sparse_depth_m: FloatMap | None = None
    pose: Matrix | None = None
    ground: Ground | None = None
    outside: BoolMap | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A metric prediction, or why there is none.

    Attributes:
        prediction: In metres; None if there is no evidence.
        evidence: Where the metres come from, in words; empty if there is none.
        reason: Why there is none; empty if there is.
        warnings: What makes the metres less certain than they should be, in words.
    """

    prediction: DepthPrediction | None
    evidence: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamResult:
    """What one frame gave.

    Attributes:
        raw: The model's own prediction.
        depth_m: float32 (H, W) metres by REP-117 (+Inf beyond range, -Inf too near, NaN unknown); None if not metric.
        uncertainty_m: float32 (H, W), one standard deviation in metres, NaN where depth is not finite; None if unknown.
        validity: uint8 (H, W) of :class:`leadline.depth.prediction.Validity`, and :data:`NOT_SHOWN`; None if not metric.
        evidence: Where the metres come from, in words; empty if not metric.
        reason: Why it is not metric; empty if it is.
        warnings: What makes the metres less certain than they should be, in words.
        camera: Of the image.
        model_s, completion_s: Time taken.
    """

    raw: DepthPrediction
    depth_m: FloatMap | None
    uncertainty_m: FloatMap | None
    validity: npt.NDArray[np.uint8] | None
    evidence: str
    reason: str
    warnings: tuple[str, ...]
    camera: CalibratedCamera | None
    model_s: float
    completion_s: float
